import type { Path, PathPoint } from "./api";

/** The horizon of forecasts made from whole hours, in minutes. */
export const HOURLY = 60;

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
const isTime = (value: unknown): value is string => typeof value === "string" && !Number.isNaN(Date.parse(value));
const areNumbers = (...values: unknown[]): boolean => values.every((value) => typeof value === "number" && Number.isFinite(value));
const isRange = (value: unknown): boolean => isRecord(value) && areNumbers(value.low, value.high);

function isPoint(value: unknown): value is PathPoint {
  if (!isRecord(value) || !isRecord(value.volatility)) return false;
  return isTime(value.predicted_for) && isRange(value.interval) && isRange(value.interval_50)
    && areNumbers(value.horizon_minutes, value.predicted_price, value.difference_bps, value.probability_up, value.volatility.bps);
}

/** A path as the service sends it, nearest point first; null for anything else and for a path without a point that can be drawn. */
export function readPath(data: unknown): Path | null {
  if (!isRecord(data) || typeof data.coin !== "string" || !isTime(data.data_until) || !areNumbers(data.current_price) || !Array.isArray(data.points)) return null;
  const points = data.points.filter(isPoint).sort((one, other) => one.horizon_minutes - other.horizon_minutes);
  return points.length ? { ...(data as unknown as Path), points } : null;
}

/** Of two paths the one to show. The same minute may come again, corrected; an answer that was overtaken by the stream is older. */
export function newer(old: Path | null, next: Path | null): Path | null {
  if (!next || !old || old.coin !== next.coin) return next ?? old;
  return Date.parse(next.data_until) >= Date.parse(old.data_until) ? next : old;
}

/** Minutes ahead for which a coin is forecast; a service that names none knows the hour alone. */
export const horizonsOf = (coin: { horizons?: readonly number[] } | undefined): readonly number[] => coin?.horizons ?? [HOURLY];

/** Whether a coin has forecasts inside the hour. */
export const hasPath = (coin: { horizons?: readonly number[] } | undefined): boolean => horizonsOf(coin).some((minutes) => minutes < HOURLY);

/** Changes a while after each quarter of the hour, when the record has its outcomes: closes are final a minute after their time. */
export const settledQuarter = ({ data_until }: Pick<Path, "data_until">): number => Math.floor((Date.parse(data_until) / 60_000 - 2) / 15);

/** A price at a time in milliseconds. */
export interface PriceAt {
  time: number;
  price: number;
}

/** Prices in order of time with one more. Of the same `cell` of milliseconds the last one stays, and nothing from before `since` but the last. */
export function withPrice<T extends PriceAt>(prices: readonly T[], next: T, since: number, cell: number): readonly T[] {
  const last = prices.at(-1);
  if (last && next.time < last.time) return prices;
  const kept = last && Math.floor(last.time / cell) === Math.floor(next.time / cell) ? prices.slice(0, -1) : prices;
  const first = kept.findLastIndex(({ time }) => time <= since);
  return [...kept.slice(Math.max(0, first)), next];
}

/** Two series of prices as one, in order of time; where both have a price of the same time, that of `first`. */
export function merged(first: readonly PriceAt[], second: readonly PriceAt[]): PriceAt[] {
  const known = new Set(first.map(({ time }) => time));
  return [...first, ...second.filter(({ time }) => !known.has(time))].sort((one, other) => one.time - other.time);
}
