import type { Accuracy, ModelInfo } from "./api";
import { clock, day, modelName } from "./format";
import { HOURLY } from "./path";

/**
 * `early`: too few hours to tell; `same`: enough of them to have shown an advantage of one percent, and none shows; `untested`: enough of them, but
 * forecasts that overlap, which no test is made of.
 */
export type Verdict = { kind: "none" | "reference" | "early" | "untested" | "better" | "same" | "worse"; percent: number };

/** Minutes between two forecasts of the record. */
const QUARTER = 15;
/** Forecasts below which the service does not judge luck. */
const FEW = 50;

/** What a record counts: hours, or forecasts that were made inside the hour. */
export const unitOf = (horizon: number): "hour" | "forecast" => (horizon < HOURLY ? "forecast" : "hour");

/** Whether neighbours of the record look partly at the same minutes, because they are made each quarter and look farther ahead. */
export const overlaps = (horizon: number): boolean => horizon < HOURLY && horizon > QUARTER;

/** Hours that so many forecasts of the record cover. */
export const hoursOf = (n: number, horizon: number): number => (horizon < HOURLY ? (n * QUARTER) / 60 : n);

/** As many forecasts as would tell the same if none overlapped another. */
export const independent = (n: number, horizon: number): number => (overlaps(horizon) ? Math.floor((n * QUARTER) / horizon) : n);

/** Does the model beat doing nothing? The service's Diebold-Mariano test decides, against what luck alone would do in as many hours. */
export function verdict({ n, mase, model, dm_t: t, luck }: Pick<Accuracy, "n" | "mase" | "model" | "dm_t" | "luck">, horizon: number = HOURLY): Verdict {
  if (mase === null || n === 0) return { kind: "none", percent: 0 };
  const judge = () => {
    if (model === "persistence") return "reference";
    if (t == null && n >= FEW && overlaps(horizon) && mase !== 1) return "untested";
    if (t == null || !luck) return mase === 1 ? "same" : "early"; // a model may be pulled to "no change" altogether
    if (Math.abs(t) >= luck.t) return t < 0 ? "better" : "worse";
    return hoursOf(n, horizon) < luck.hours_for_one_percent ? "early" : "same";
  };
  return { kind: judge(), percent: 100 * (1 - mase) };
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

const isTime = (value: unknown): value is string => typeof value === "string" && !Number.isNaN(Date.parse(value));

/** Until when the data reach that the champion was trained on, or null where that is not known. */
export function learnedUntil({ versions, serving }: Pick<ModelInfo, "versions" | "serving">): string | null {
  const span = versions[serving.champion ?? ""]?.train_span;
  return Array.isArray(span) && isTime(span[1]) ? span[1] : null;
}

const EVENTS: Record<string, string> = { promoted: "was promoted", refused: "was turned down", rolled_back: "was brought back" };

/** What happened last to a coin's models, in words, with the reasons that were recorded; null where nobody wrote it down. */
export function whatHappened({ last_event, last_decision: decision, serving }: Pick<ModelInfo, "last_event" | "last_decision" | "serving">): { words: string; reasons: string[] } | null {
  // Bundles that an older version exported hold tests alone, and what became champion since is not among them.
  const event = last_event ?? (decision && (!decision.promoted || serving.champion === decision.version) ? { ...decision, event: decision.promoted ? "promoted" : "refused" } : null);
  if (!event) return null;
  const { event: name, kind, version, previous_version: previous, reasons, time } = event as Record<string, unknown>;
  const before = previous && previous !== version && name !== "refused" ? ` in place of version ${previous}` : "";
  const words = `${modelName(String(kind))}, version ${version}, ${EVENTS[String(name)] ?? name}${before}${isTime(time) ? ` on ${day(time)}, at ${clock(time)} UTC` : ""}.`;
  return { words, reasons: Array.isArray(reasons) ? reasons.map(String) : [] };
}
