import type { Path } from "./api";
import type { PriceAt } from "./path";

/** Where the price is expected at a time, in milliseconds: 90 % between `low90` and `high90`, 50 % between `low50` and `high50`. */
export interface FanPoint {
  time: number;
  low90: number;
  low50: number;
  median: number;
  high50: number;
  high90: number;
}

type Edge = Exclude<keyof FanPoint, "time">;
const EDGES: readonly Edge[] = ["low90", "low50", "median", "high50", "high90"];

/** What is drawn: times from `from` to `to`, and prices from `low` to `high` with a line at every `step`. */
export interface Frame {
  from: number;
  to: number;
  low: number;
  high: number;
  step: number;
}

/** Units of the drawing in either direction. It is stretched to the width of the page. */
export const SIZE = 1000;

/** The corners of the fan: the last close, then each horizon. */
export function corners({ data_until, current_price, points }: Path): FanPoint[] {
  const start = Date.parse(data_until), now = current_price;
  const ahead = points.map(({ horizon_minutes, predicted_price, interval, interval_50: half }) => (
    { time: start + 60_000 * horizon_minutes, low90: interval.low, low50: half.low, median: predicted_price, high50: half.high, high90: interval.high }
  ));
  return [{ time: start, low90: now, low50: now, median: now, high50: now, high90: now }, ...ahead];
}

/** The fan with `parts` steps between corners. Between two horizons its edges follow the square root of time, as the spread of a random walk does. */
export function curved(points: readonly FanPoint[], parts = 8): FanPoint[] {
  const [first] = points;
  if (!first) return [];
  const root = (time: number) => Math.sqrt(time - first.time);
  const between = (one: FanPoint, other: FanPoint, part: number): FanPoint => {
    const time = one.time + (part / parts) * (other.time - one.time);
    const share = part === parts ? 1 : (root(time) - root(one.time)) / (root(other.time) - root(one.time));
    const edges = EDGES.map((edge) => [edge, share === 1 ? other[edge] : one[edge] + share * (other[edge] - one[edge])]);
    return { time, ...Object.fromEntries(edges) } as unknown as FanPoint;
  };
  return [first, ...points.slice(1).flatMap((other, index) => Array.from({ length: parts }, (_, part) => between(points[index]!, other, part + 1)))];
}

/** The step of 1, 2 or 5 times a power of ten that cuts `span` into at most `most` parts. */
export function niceStep(span: number, most: number): number {
  const rough = span / most, size = Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((one) => Number(`${one}e${size}`)).find((step) => step >= rough * (1 - 1e-9))!;
}

/** The frame around a fan and the prices of the `past` milliseconds before it. Its bounds are lines of the grid, so that they seldom change. */
export function frameOf(points: readonly FanPoint[], prices: readonly PriceAt[], past: number): Frame {
  const start = points[0]!.time, end = points.at(-1)!.time, from = start - past;
  const seen = [...points.flatMap(({ low90, high90 }) => [low90, high90]), ...since(prices, from).map(({ price }) => price)];
  const low = Math.min(...seen), high = Math.max(...seen);
  const step = niceStep(high - low || Math.abs(high) * 1e-4 || 1, 5);
  const [first, last] = [Math.floor(low / step), Math.ceil(high / step)];
  return { from, to: end, low: first * step, high: (last === first ? last + 1 : last) * step, step };
}

/** Prices at which a line of the grid is drawn, lowest first. */
export const gridPrices = ({ low, high, step }: Frame): number[] => Array.from({ length: Math.round((high - low) / step) + 1 }, (_, index) => low + index * step);

/** Decimals of the grid's prices. */
export const gridPlaces = ({ step }: Frame): number => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));

/** Prices from a time on; the line that enters is cut there. */
export function since(prices: readonly PriceAt[], from: number): PriceAt[] {
  const first = prices.findIndex(({ time }) => time >= from), inside = first < 0 ? [] : prices.slice(first);
  const [before, after] = [prices[first - 1], inside[0]];
  if (!before || !after || after.time === from) return inside;
  const share = (from - before.time) / (after.time - before.time);
  return [{ time: from, price: before.price + share * (after.price - before.price) }, ...inside];
}

const rounded = (value: number) => Math.round(10 * value) / 10;
export const xOf = ({ from, to }: Frame, time: number): number => rounded((SIZE * (time - from)) / (to - from));
export const yOf = ({ low, high }: Frame, price: number): number => rounded((SIZE * (high - price)) / (high - low));

const corner = (frame: Frame, time: number, price: number) => `${xOf(frame, time)} ${yOf(frame, price)}`;

/** The area between two edges of a fan, as an SVG path. */
export function area(frame: Frame, points: readonly FanPoint[], low: Edge, high: Edge): string {
  const there = points.map((point) => corner(frame, point.time, point[high])), back = points.map((point) => corner(frame, point.time, point[low])).reverse();
  return points.length ? `M${[...there, ...back].join("L")}Z` : "";
}

/** A line through prices, as an SVG path. */
export const line = (frame: Frame, prices: readonly PriceAt[]): string => (prices.length ? `M${prices.map(({ time, price }) => corner(frame, time, price)).join("L")}` : "");
