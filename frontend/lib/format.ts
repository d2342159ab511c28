/** Numbers and times in words. Times are UTC, as the exchange's hours are; the reader's own clock is said beside them where it differs. */

const QUOTES: Record<string, string> = { USD: "$", USDT: "$", USDC: "$", EUR: "€", GBP: "£" };
const NAMES: Record<string, string> = { BTC: "Bitcoin", ETH: "Ethereum", SOL: "Solana", XRP: "XRP", DOGE: "Dogecoin", ADA: "Cardano", LTC: "Litecoin" };
const MODELS: Record<string, string> = {
  champion: "Champion", persistence: "No change", lasso: "Lasso", lightgbm: "LightGBM", cnn: "CNN", lstm: "LSTM", ensemble: "Ensemble",
};

export const coinName = (coin: string): string => NAMES[coin.split("-")[0] ?? ""] ?? coin.split("-")[0] ?? coin;
export const modelName = (model: string): string => MODELS[model] ?? model;

/** As many decimals as a price of that size needs: cents for Bitcoin, more for coins that cost less than a dollar. */
export function decimals(size: number): number {
  const magnitude = Math.abs(size);
  if (magnitude === 0 || magnitude >= 10) return 2;
  return Math.min(8, Math.max(2, 3 - Math.floor(Math.log10(magnitude))));
}

// Making a formatter costs a thousand times what using one does, and a price comes every second.
const made = new Map<string, Intl.NumberFormat | Intl.DateTimeFormat>();

function once<T extends Intl.NumberFormat | Intl.DateTimeFormat>(key: string, make: () => T): T {
  const known = made.get(key) ?? make();
  made.set(key, known);
  return known as T;
}

const numbers = (places: number) => once(`${places}`, () => new Intl.NumberFormat("en-US", { minimumFractionDigits: places, maximumFractionDigits: places }));

/** Money in the coin's quote currency; `scale` is the price whose decimals a difference should have. */
export function money(value: number, coin: string, scale = value): string {
  const quote = coin.split("-")[1] ?? "";
  const places = decimals(scale);
  const digits = numbers(places).format(Math.abs(value));
  const sign = value < 0 ? "−" : "";
  const symbol = QUOTES[quote];
  return symbol ? `${sign}${symbol}${digits}` : `${sign}${digits} ${quote}`.trim();
}

export function signedMoney(value: number, coin: string, scale: number): string {
  return `${value > 0 ? "+" : ""}${money(value, coin, scale)}`;
}

export function signed(value: number, places: number): string {
  const text = Math.abs(value).toFixed(places);
  return Number(text) === 0 ? text : `${value > 0 ? "+" : "−"}${text}`;
}

export const percent = (share: number | null | undefined, places = 1): string => (share == null ? "–" : `${(100 * share).toFixed(places)} %`);
export const ratio = (value: number | null | undefined): string => (value == null ? "–" : value.toFixed(3));
export const count = (value: number): string => numbers(0).format(value);

const CLOCK = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" } as const;
const DAY = { day: "numeric", month: "short" } as const;

const utc = (name: string, options: Intl.DateTimeFormatOptions) => once(name, () => new Intl.DateTimeFormat("en-GB", { ...options, timeZone: "UTC" }));

export const clock = (time: string | number): string => utc("clock", CLOCK).format(new Date(time));
export const day = (time: string | number): string => utc("date", { ...DAY, year: "numeric" }).format(new Date(time));
export const dayAndClock = (time: string | number): string => `${utc("day", DAY).format(new Date(time))}, ${clock(time)}`;

/** The reader's own clock, or nothing where it shows the same. */
export function ownClock(time: string | number): string | null {
  const own = new Intl.DateTimeFormat("en-GB", CLOCK).format(new Date(time)); // made anew: a traveller changes zones
  return own === clock(time) ? null : own;
}

/** How long ago, in the coarsest unit that says something. */
export function age(milliseconds: number): string {
  const minutes = Math.max(0, Math.floor(milliseconds / 60_000));
  if (minutes < 1) return "less than a minute";
  if (minutes < 120) return plural(minutes, "minute");
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? plural(hours, "hour") : plural(Math.floor(hours / 24), "day");
}

export const plural = (number: number, word: string): string => `${count(number)} ${word}${number === 1 ? "" : "s"}`;
