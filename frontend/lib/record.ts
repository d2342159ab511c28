import type { Accuracy } from "./api";

/**
 * Hours it takes before an advantage of the expected size stands out from luck. In the backtest (Binance, Bitcoin, 28,437 hours) the ensemble's
 * Diebold-Mariano t was -9.3, and t grows with the square root of the hours: -1.64, the mark of 5 %, comes after 28,437 · (1.64 / 9.3)² of them.
 */
export const HOURS_TO_TELL = Math.round((28_437 * (1.64 / 9.3) ** 2) / 10) * 10;

export type Verdict = { kind: "none" | "reference" | "early" | "better" | "same" | "worse"; percent: number };

/** Does the model beat doing nothing? Careful with few hours, and with differences that a display would round away. */
export function verdict(score: Pick<Accuracy, "n" | "mase" | "model">): Verdict {
  if (score.mase === null || score.n === 0) return { kind: "none", percent: 0 };
  const percent = 100 * (1 - score.mase);
  if (score.model === "persistence") return { kind: "reference", percent };
  if (score.n < HOURS_TO_TELL) return { kind: "early", percent };
  return { kind: Math.abs(percent) < 0.05 ? "same" : percent > 0 ? "better" : "worse", percent };
}

/** Where the share inside an interval of `level` lies in 95 of 100 tries of `n` hours when the interval is right (normal approximation). */
export function expectedCoverage(level: number, n: number): { low: number; high: number } | null {
  if (n < 20) return null;
  const spread = 1.96 * Math.sqrt((level * (1 - level)) / n);
  return { low: Math.max(0, level - spread), high: Math.min(1, level + spread) };
}

/** Does the interval hold what it says, as far as so many hours can tell? */
export function coverageWord(share: number | null, level: number, n: number): "too few hours" | "as it should" | "too narrow" | "too wide" {
  const expected = expectedCoverage(level, n);
  if (share === null || expected === null) return "too few hours";
  if (share < expected.low) return "too narrow";
  return share > expected.high ? "too wide" : "as it should";
}

/** Kinds of model that can be scored: `champion` is one of them under another name. Persistence, the measure, comes last. */
export function kinds(models: readonly string[]): string[] {
  const own = models.filter((name) => name !== "champion" && name !== "persistence");
  return [...own, ...(models.includes("persistence") ? ["persistence"] : [])];
}

/** Heights for a small bar chart of daily advantage in percent, symmetric around zero, never taller than `limit`. */
export function dayBars(days: readonly { day: string; n: number; mase: number | null }[], limit: number) {
  const values = days.flatMap((one) => (one.mase === null ? [] : [{ day: one.day, n: one.n, percent: 100 * (1 - one.mase) }]));
  const largest = Math.max(1, ...values.map((one) => Math.abs(one.percent)));
  return { largest, bars: values.map((one) => ({ ...one, height: (limit * one.percent) / largest })) };
}
