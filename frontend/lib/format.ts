/** Numbers and times in words. Times are UTC, as the exchange's hours are; the reader's own clock is said beside them where it differs. */

const QUOTES: Record<string, string> = { USD: "$", USDT: "$", USDC: "$", EUR: "€", GBP: "£" };
const NAMES: Record<string, string> = { BTC: "Bitcoin", ETH: "Ethereum", SOL: "Solana", XRP: "XRP", DOGE: "Dogecoin", ADA: "Cardano", LTC: "Litecoin" };
const MODELS: Record<string, string> = {
  champion: "Champion", persistence: "No change", lasso: "Lasso", lightgbm: "LightGBM", cnn: "CNN", lstm: "LSTM", ensemble: "Ensemble",
};

export const coinName = (coin: string): string => NAMES[coin.split("-")[0] ?? ""] ?? coin.split("-")[0] ?? coin;
export const modelName = (model: string): string => MODELS[model] ?? model;

type Figure = number | null | undefined;
const isKnown = (value: Figure): value is number => value != null && Number.isFinite(value);
const largest = (values: readonly Figure[]) => Math.max(0, ...values.filter(isKnown).map(Math.abs));

/** Power of ten of the first digit, once rounded to five significant digits. */
const exponent = (value: number) => Number(value.toExponential(4).split("e")[1]);

/**
 * Decimals for prices that stand together: five significant digits below ten, cents up to a million, and as many more as it takes to tell
 * the prices apart. The same rule as `crypto_rti.numbers`; tests/number_cases.json holds both to it.
 */
export function priceDecimals(...prices: Figure[]): number {
  const known = [...new Set([0, ...prices.filter(isKnown)])].sort((one, other) => one - other);
  const top = largest(known);
  if (top === 0) return 2;
  const size = exponent(top);
  const distances = known.slice(1).map((price, index) => price - known[index]!).filter((distance) => distance > 1e-13 * top);
  return Math.max(size >= 6 ? 0 : size >= 1 ? 2 : 4 - size, 1 - exponent(Math.min(...distances)));
}

/** A difference and its decimals: those of its prices, and more where it would be rounded to nothing. A rounding error of float64 is no difference. */
function sized(value: number, prices: readonly Figure[]): [value: number, places: number] {
  const places = priceDecimals(...(prices.length ? prices : [value]));
  if (Math.abs(value) <= 1e-15 * largest(prices)) return [0, places];
  return [value, places + exponent(value) < 1 ? 2 - exponent(value) : places];
}

// By hand, not by Intl: its first formatter of dates alone keeps a phone busy for a fifth of a second, before the forecast is shown.
const digits = (value: number, places: number) => value.toFixed(places).replace(/\B(?<!\..*)(?=(\d{3})+(?!\d))/g, ",");

/** A number with its sign, and a symbol and a unit around it; a rounded zero has no sign. */
function written([value, places]: [value: number, places: number], plus = "", symbol = "", unit = ""): string {
  const amount = digits(Math.abs(value), places);
  return (/[1-9]/.test(amount) ? (value < 0 ? "−" : plus) : "") + symbol + amount + unit;
}

const NOTHING = "–";

/** A price with as many decimals as it takes to tell it from those `beside` it. */
export const formatPrice = (value: Figure, ...beside: Figure[]): string => (isKnown(value) ? written([value, priceDecimals(value, ...beside)]) : NOTHING);

/** A move or an error, with the decimals of the prices it belongs to; zero only where it is. */
export const formatDifference = (value: Figure, ...prices: Figure[]): string => (isKnown(value) ? written(sized(value, prices)) : NOTHING);

/** A figure of a table of mixed figures. */
export function formatNumber(value: Figure): string {
  if (!isKnown(value)) return NOTHING;
  const size = value === 0 ? 0 : exponent(value);
  return written([value, size >= 6 ? 0 : size >= 2 ? 2 : size >= -1 ? 3 : 2 - size]);
}

/** An amount in the coin's quote currency. */
function inQuote(number: [value: number, places: number], coin: string, plus?: string): string {
  const quote = coin.split("-")[1], symbol = QUOTES[quote ?? ""];
  return written(number, plus, symbol, symbol || !quote ? "" : ` ${quote}`);
}

/** A price as money; `beside` are the prices from which it must be told apart. */
export const money = (value: number, coin: string, ...beside: Figure[]): string => inQuote([value, priceDecimals(value, ...beside)], coin);

/** A price as money with a number of decimals that the reader sees elsewhere too, as on an axis. */
export const moneyWith = (value: number, coin: string, places: number): string => inQuote([value, places], coin);

/** A move or an error as money; `prices` are those it belongs to. */
export const moneyDifference = (value: number, coin: string, prices: readonly Figure[], plus?: string): string => inQuote(sized(value, prices), coin, plus);

/** A move as money, with its sign. */
export const signedMoney = (value: number, coin: string, ...prices: Figure[]): string => moneyDifference(value, coin, prices, "+");

export const signed = (value: number, places: number): string => written([value, places], "+");

/** A move in basis points: one decimal, and more where that would be nothing. Below 1e-11 it is a rounding error of the prices. */
export function signedBps(value: number): string {
  const size = Math.abs(value) < 1e-11 ? 0 : exponent(value);
  return signed(value, size < 0 ? 2 - size : 1);
}

export const percent = (share: Figure, places = 1): string => (share == null ? NOTHING : `${(100 * share).toFixed(places)} %`);
export const ratio = (value: Figure): string => (value == null ? NOTHING : value.toFixed(3));
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
