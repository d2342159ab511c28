import type { Path, PathPoint } from "./api";
import { percent, plural, signedBps } from "./format";

/** The horizon that is put into words first, in minutes, where there is one. */
const SPOKEN = 15;

/** A share as a percentage of two digits, rounded up: what lies within the exact bound lies within the written one. */
export function boundPercent(share: number): string {
  const value = 100 * share;
  if (!(value > 0)) return "0 %";
  const placesOf = (number: number) => Math.max(0, 1 - Math.floor(Math.log10(number) + 1e-12));
  const unit = 10 ** -placesOf(value), bound = Math.ceil(value / unit - 1e-9) * unit;
  return `${bound.toFixed(placesOf(bound))} %`;
}

/** The larger distance from the last close to an end of the 90 % interval, as a share of that close. */
export const reach = ({ interval }: PathPoint, current: number): number => Math.max(interval.high - current, current - interval.low) / current;

/** Whether a forecast says anything about the direction: persistence does not, nor does a median of which nothing is used. */
export const hasDirection = ({ model, size }: Pick<PathPoint, "model" | "size">): boolean => model !== "persistence" && size !== 0;

/** How likely a rise is, in words, with the probability of what is more likely. */
export function oddsWords(up: number): string {
  const whole = Math.round(100 * up), [more, less] = whole < 50 ? ["fall", "rise"] : ["rise", "fall"];
  const chance = percent(Math.max(whole, 100 - whole) / 100, 0);
  if (whole >= 48 && whole <= 52) return `a rise is as likely as a fall (${percent(whole / 100, 0)})`;
  return `a ${more} is ${Math.abs(whole - 50) <= 7 ? "slightly " : ""}more likely than a ${less} (${chance})`;
}

/** Direction of one forecast: its median and its odds, or that there is none. */
const directionWords = (point: PathPoint): string =>
  hasDirection(point) ? `the median move is ${signedBps(point.difference_bps)} bps, and ${oddsWords(point.probability_up)}` : "no direction is forecast at this horizon";

/** The point that is put into words first: that of 15 minutes, else the nearest. */
export const spokenPoint = ({ points }: Path): PathPoint => points.find((one) => one.horizon_minutes === SPOKEN) ?? points[0]!;

/** The width and the direction at the spoken horizon and at the last one: one or two sentences. */
export function pathWords(path: Path): string[] {
  const near = spokenPoint(path), far = path.points.at(-1)!;
  const ahead = (point: PathPoint) => `within ${boundPercent(reach(point, path.current_price))} in ${plural(point.horizon_minutes, "minute")}`;
  if (far !== near && !hasDirection(near) && !hasDirection(far)) return [`Expected to stay ${ahead(near)} and ${ahead(far)}, nine times in ten each; no direction is forecast at either horizon.`];
  const first = `Expected to stay ${ahead(near)} nine times in ten; ${directionWords(near)}.`;
  return far === near ? [first] : [first, `${capital(ahead(far))}; ${directionWords(far)}.`];
}

const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** What the service says as a part of a sentence, as a whole one. */
export const asSentence = (text: string): string => `${capital(text)}${/[.!?]$/.test(text) ? "" : "."}`;

/** How much movement is expected, held against the forecasts of the last 30 days; null while too few of them are known. */
export function volatilityWords({ horizon_minutes, volatility: { bps, rank_30d: rank } }: PathPoint): string | null {
  if (rank === null) return null;
  const word = rank < 0.2 ? "calm" : rank <= 0.8 ? "as usual" : "lively";
  const others = rank < 0.5 ? `${percent(1 - rank, 0)} of the forecasts of the last 30 days expected more` : `${percent(rank, 0)} of the forecasts of the last 30 days expected less`;
  return `Movement is ${word}: the standard deviation over ${plural(horizon_minutes, "minute")} is ${bps.toFixed(bps < 10 ? 1 : 0)} bps, and ${others}.`;
}

/** Seconds in words: tenths below ten, whole ones up to two minutes, then minutes. */
export const secondsWords = (seconds: number): string =>
  seconds < 9.95 ? `${Math.max(0, seconds).toFixed(1)} s` : seconds < 120 ? `${Math.round(seconds)} s` : plural(Math.round(seconds / 60), "minute");

/** How much of a model's own median is used, in words; null where nothing is chosen. */
export function sizeWords(size: number | null): string | null {
  if (size === null) return null;
  if (size === 0) return "Nothing of the model’s own predicted move is used: no direction is forecast at this horizon.";
  return size === 1 ? "The model’s own predicted move is used in full." : `${percent(size, 0)} of the model’s own predicted move is used.`;
}
