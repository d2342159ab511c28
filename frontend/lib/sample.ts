// A path for tests. The page does not use it.
import type { Path, PathPoint } from "./api";

export const START = Date.UTC(2024, 0, 31, 15, 23);
const iso = (time: number) => new Date(time).toISOString().replace(".000Z", "Z");

/** The point of a horizon of a market whose 90 % interval reaches 4 times the square root of the minutes to either side. */
export function samplePoint(horizon: number, change: Partial<PathPoint> = {}, start = START, current = 42_000): PathPoint {
  const wide = 4 * Math.sqrt(horizon) * (current / 1000), narrow = 0.4 * wide, median = current + 0.1 * wide;
  return {
    horizon_minutes: horizon, predicted_for: iso(start + 60_000 * horizon), model: "lasso", model_version: "3", predicted_price: median, difference_bps: (1e4 * (median - current)) / current,
    interval: { level: 0.9, low: current - wide, high: current + wide }, interval_50: { level: 0.5, low: current - narrow, high: current + narrow },
    volatility: { bps: 12.34, annualised: 0.52, rank_30d: 0.45 }, probability_up: 0.52, size: 0.4, ...change,
  };
}

export function samplePath(change: Partial<Path> = {}, start = START, current = 42_000): Path {
  return {
    coin: "BTC-USD", source: "sim", data_until: iso(start), current_price: current, provisional: false, issued_after: 1.4, stale: false, lacking: [],
    points: [5, 15, 30, 60].map((horizon) => samplePoint(horizon, {}, start, current)), ...change,
  };
}
