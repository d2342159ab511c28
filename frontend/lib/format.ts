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

// By hand, not by Intl: its first formatter of dates alone keeps a phone busy for a fifth of a second, before the forecast is shown.
const digits = (value: number, places: number) => value.toFixed(places).replace(/\B(?<!\..*)(?=(\d{3})+(?!\d))/g, ",");

/** Money in the coin's quote currency; `scale` is the price whose decimals a difference should have. */
export function money(value: number, coin: string, scale = value): string {
  const quote = coin.split("-")[1] ?? "";
  const amount = digits(Math.abs(value), decimals(scale));
  const sign = value < 0 ? "−" : "";
  const symbol = QUOTES[quote];
  return symbol ? `${sign}${symbol}${amount}` : `${sign}${amount} ${quote}`.trim();
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
export const count = (value: number): string => digits(value, 0);

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const two = (number: number) => String(number).padStart(2, "0");
const dayOf = (date: Date) => `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;

export const clock = (time: string | number): string => new Date(time).toISOString().slice(11, 16);
export const day = (time: string | number): string => `${dayOf(new Date(time))} ${new Date(time).getUTCFullYear()}`;
export const dayAndClock = (time: string | number): string => `${dayOf(new Date(time))}, ${clock(time)}`;

/** The reader's own clock, or nothing where it shows the same. */
export function ownClock(time: string | number): string | null {
  const date = new Date(time);
  const own = `${two(date.getHours())}:${two(date.getMinutes())}`;
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
