import { ask, AwayError, ProblemError, type History, type HistoryAnswer, type Prediction, type PredictionAnswer, type ToldForecast } from "./api";
import { isoHour } from "./choice";

const HOUR = 3_600_000;
/** How far back the service's record can be asked for at once. */
const REACH = 720;
/** Hours whose forecast is asked for one by one where the record has none: a service that has just been started has said nothing yet. */
const FILLED = 24;
/** Questions under way at once: enough to be quick, few enough to be a polite guest. */
const AT_ONCE = 4;

/** A forecast of the past; `late` where it was made when its hour was over already. */
export type Told = Pick<ToldForecast, "predicted_for" | "predicted_price" | "current_price" | "interval" | "interval_50" | "actual_price" | "late">;

export interface Past {
  /** Closing prices by the hour's end, oldest first */
  closes: { time: number; close: number }[];
  /** Forecasts by the hour they are for, oldest first */
  forecasts: Told[];
}

/** A forecast as the chart draws it. */
export type Drawn = Pick<Prediction, "coin" | "data_until" | "predicted_for" | "current_price" | "predicted_price" | "interval" | "interval_50">;

const closedHour = (newest: Prediction): number => Math.floor(Date.parse(newest.data_until) / HOUR) * HOUR;

/** How many hours of the service's record lie behind a forecast: those wanted, and those that have passed since; 0 where it is older than the record. */
export function askedHours(newest: Prediction, hours: number): number {
  const minute = HOUR / 60; // that an hour takes to be final
  const since = Math.max(0, Math.floor((Date.parse(newest.request_time) - minute - closedHour(newest)) / HOUR));
  return since < REACH ? Math.min(REACH, hours + since) : 0;
}

/** Which past hours to ask from one by one, nearest first: those of the last day that nobody has forecast, and one a day for prices from before `reach`. */
export function plan(until: number, hours: number, told: ReadonlySet<number>, reach: number): number[] {
  const forecasts = Array.from({ length: Math.min(hours, FILLED) }, (_, index) => until - (index + 1) * HOUR).filter((hour) => !told.has(hour + HOUR));
  const prices = Array.from({ length: Math.max(0, Math.ceil(hours / 24) - 1) }, (_, index) => until - (index + 1) * 24 * HOUR).filter((hour) => hour - 24 * HOUR < reach);
  return [...new Set([...forecasts, ...prices])].sort((one, other) => other - one);
}

/** A forecast that was asked for, as the record would tell it. */
function toTold(one: Prediction): Told {
  const { predicted_for, predicted_price, current_price, interval, interval_50, actual_price } = one;
  return { predicted_for, predicted_price, current_price, interval, interval_50, actual_price, late: Date.parse(one.request_time) >= Date.parse(predicted_for) };
}

/** What is known of the `hours` before a forecast: from the record, and where that has nothing from what was asked one by one. */
export function gather(newest: Prediction, hours: number, history: History | null, asked: Iterable<Prediction> = []): Past {
  const until = closedHour(newest), since = until - hours * HOUR, target = Date.parse(newest.predicted_for);
  const closes = new Map<number, number>();
  const forecasts = new Map<number, Told>();
  for (const one of [...asked, newest]) {
    for (const price of one.past_24_hour_prices) closes.set(Date.parse(price.time), price.close);
    if (one.actual_price !== null) closes.set(Date.parse(one.predicted_for), one.actual_price);
    // Beyond a day a forecast was asked for its prices alone: one in 24 hours, between which nothing may be drawn.
    if (Date.parse(one.data_until) >= until - FILLED * HOUR) forecasts.set(Date.parse(one.predicted_for), toTold(one));
  }
  for (const price of history?.prices ?? []) closes.set(Date.parse(price.time), price.close);
  for (const one of history?.forecasts ?? []) {
    // The forecast that the page shows is drawn as it is shown, even if another version spoke at the time.
    if (Date.parse(one.predicted_for) !== target || one.predicted_price === newest.predicted_price) forecasts.set(Date.parse(one.predicted_for), one);
  }
  const last = newest.actual_price === null ? until : target;
  const inOrder = <T,>(map: Map<number, T>, from: number, to: number) => [...map].filter(([time]) => time >= from && time <= to).sort(([one], [other]) => one - other);
  return {
    closes: inOrder(closes, since, last).map(([time, close]) => ({ time, close })),
    forecasts: inOrder(forecasts, since + 1, target).map(([, one]) => one),
  };
}

const MINUTE = 60_000;
const madeAt = (one: Told, horizon: number): number => Date.parse(one.predicted_for) - horizon * MINUTE;

/** The record of forecasts inside the hour, and the prices, of the `hours` before its end, or before `until` where a past hour is shown. */
export function gatherInside(history: Pick<History, "horizon_minutes" | "until" | "prices" | "forecasts">, hours: number, until: number | null = null): Past {
  const since = (until ?? Date.parse(history.until)) - hours * HOUR;
  const forecasts = history.forecasts.filter((one) => Date.parse(one.predicted_for) > since && (until === null || madeAt(one, history.horizon_minutes) <= until));
  const outcomes = forecasts.flatMap((one) => (one.actual_price === null ? [] : [[Date.parse(one.predicted_for), one.actual_price] as const]));
  const prices = history.prices.map(({ time, close }) => [Date.parse(time), close] as const).filter(([time]) => time >= since && (until === null || time <= until));
  const closes = [...new Map([...outcomes, ...prices])].sort(([one], [other]) => one - other).map(([time, close]) => ({ time, close }));
  return { closes, forecasts };
}

/** The last forecast of a record, as the chart draws it; null where there is none. */
export function lastDrawn({ forecasts }: Past, coin: string, horizon: number): Drawn | null {
  const last = forecasts.at(-1);
  return last ? { ...last, coin, data_until: new Date(madeAt(last, horizon)).toISOString() } : null;
}

/** Unix seconds of every `step` from the oldest time of a chart to its newest: a chart that lacks some would be drawn shorter there. */
export function evenTimes(past: Past, newest: Pick<Drawn, "data_until" | "predicted_for">, step: number): number[] {
  const known = [past.closes[0]?.time, ...[past.forecasts[0]?.predicted_for, newest.data_until].map((text) => text && Date.parse(text))].filter((time) => typeof time === "number");
  const first = Math.ceil(Math.min(...known) / 1000 / step), last = Math.floor(Date.parse(newest.predicted_for) / 1000 / step);
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, index) => (first + index) * step);
}

/** Of forecasts whose price is known: how many lay within each interval, and how many were made only afterwards. */
export function judge(forecasts: readonly Told[]) {
  const known = forecasts.filter((one) => one.actual_price !== null);
  const within = (pick: "interval" | "interval_50") => known.filter((one) => one.actual_price! >= one[pick].low && one.actual_price! <= one[pick].high).length;
  return { known: known.length, late: known.filter((one) => one.late).length, within90: within("interval"), within50: within("interval_50") };
}

/** Answers that will not change any more: the price that came is known. */
const settled = new Map<string, Prediction>();

/** Load the past behind a forecast; `tell` hears of it now and then, and `false` comes back where parts could not be had. */
export async function loadPast(newest: Prediction, hours: number, model: string, signal: AbortSignal, tell: (past: Past) => void): Promise<boolean> {
  const until = closedHour(newest), wanted = askedHours(newest, hours);
  tell(gather(newest, hours, null));
  const history = wanted ? await askHistory(newest.coin, wanted, model, signal) : null;
  if (signal.aborted) return false;
  const reach = history ? Date.parse(history.until) - wanted * HOUR : Infinity;
  const told = new Set(history?.forecasts.map((one) => Date.parse(one.predicted_for)));
  const found: Prediction[] = [], left: number[] = [];
  const key = (hour: number) => [newest.source, newest.coin, model, newest.model_version, hour].join("|");
  for (const hour of plan(until, hours, told, reach)) {
    const known = settled.get(key(hour));
    if (known) found.push(known);
    else left.push(hour);
  }
  tell(gather(newest, hours, history, found));
  let whole = wanted === 0 || (history !== null && !history.stale);
  const work = async () => {
    for (let hour = left.shift(); hour !== undefined && !signal.aborted; hour = left.shift()) {
      const answer = await askPast(newest.coin, hour, model, signal);
      if (answer) {
        found.push(answer);
        if (answer.actual_price !== null) settled.set(key(hour), answer);
        if (found.length % 12 === 0) tell(gather(newest, hours, history, found));
      } else whole = false;
    }
  };
  if (left.length) {
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (!signal.aborted) tell(gather(newest, hours, history, found));
  }
  return whole;
}

/** The record of the last hours, or null where it cannot be had now. */
async function askHistory(coin: string, hours: number, model: string, signal: AbortSignal): Promise<History | null> {
  try {
    return (await ask<HistoryAnswer>("/api/history", { coin, model_name: model, hours: String(hours) }, signal)).history;
  } catch {
    return null; // What is needed first is asked for one by one instead
  }
}

/** One hour of the past, or null where there is none: too little history, or a service that stays away. */
async function askPast(coin: string, hour: number, model: string, signal: AbortSignal): Promise<Prediction | null> {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      return (await ask<PredictionAnswer>("/api/predict", { coin, time_from: isoHour(hour), model_name: model }, signal)).prediction;
    } catch (error) {
      const wait = error instanceof ProblemError ? error.retryAfter : error instanceof AwayError ? 2 : null;
      if (signal.aborted || wait === null) return null;
      await new Promise((resolve) => setTimeout(resolve, 1000 * Math.min(wait, 10)));
    }
  }
  return null;
}
