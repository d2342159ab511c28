import { ask, AwayError, ProblemError, type Prediction, type PredictionAnswer } from "./api";
import { isoHour } from "./choice";

const HOUR = 3_600_000;
/** How far back each hour's forecast is drawn. The API answers one forecast at a time, and each brings 24 hours of prices. */
export const FORECAST_HOURS = 72;
/** Questions under way at once: enough to be quick, few enough to be a polite guest. */
const AT_ONCE = 4;

export interface Past {
  /** Closing prices by the hour's end, oldest first */
  closes: { time: number; close: number }[];
  /** Forecasts by the hour they are for, oldest first */
  forecasts: Prediction[];
}

/** Which past hours to ask from, nearest first, to draw `hours` of prices that end at `until`. */
export function plan(until: number, hours: number): number[] {
  const forecasts = Array.from({ length: Math.min(hours, FORECAST_HOURS) }, (_, index) => until - (index + 1) * HOUR);
  const prices = Array.from({ length: Math.max(0, Math.ceil(hours / 24) - 1) }, (_, index) => until - (index + 1) * 24 * HOUR);
  return [...new Set([...forecasts, ...prices])].sort((one, other) => other - one);
}

/** What a set of forecasts knows of the past: their prices, what came, and themselves where they were made hour by hour. */
export function gather(predictions: Iterable<Prediction>, since: number, forecastsSince = since): Past {
  const closes = new Map<number, number>();
  const forecasts = new Map<number, Prediction>();
  for (const one of predictions) {
    for (const price of one.past_24_hour_prices) closes.set(Date.parse(price.time), price.close);
    if (one.actual_price !== null) closes.set(Date.parse(one.predicted_for), one.actual_price);
    forecasts.set(Date.parse(one.predicted_for), one);
  }
  const inOrder = <T,>(map: Map<number, T>, first: number) => [...map].filter(([time]) => time >= first).sort(([one], [other]) => one - other);
  return { closes: inOrder(closes, since).map(([time, close]) => ({ time, close })), forecasts: inOrder(forecasts, forecastsSince).map(([, one]) => one) };
}

/** Of forecasts whose price is known: how many lay within each interval, and how often "no change" was further off. */
export function judge(forecasts: readonly Prediction[]) {
  const known = forecasts.filter((one) => one.actual_price !== null);
  const within = (pick: "interval" | "interval_50") => known.filter((one) => one.actual_price! >= one[pick].low && one.actual_price! <= one[pick].high).length;
  return { known: known.length, within90: within("interval"), within50: within("interval_50") };
}

/** Answers that will not change any more: the price that came is known. */
const settled = new Map<string, Prediction>();

/** Load the past behind a forecast; `tell` hears of it now and then, and `false` comes back where parts could not be had. */
export async function loadPast(newest: Prediction, hours: number, model: string, signal: AbortSignal, tell: (past: Past) => void): Promise<boolean> {
  const until = Date.parse(newest.data_until);
  const since = until - hours * HOUR;
  // Beyond these hours a forecast was asked for its prices alone: one a day, between which nothing may be drawn.
  const gathered = () => gather(found.values(), since, until - Math.min(hours, FORECAST_HOURS) * HOUR);
  const found = new Map<number, Prediction>([[until, newest]]);
  const key = (hour: number) => [newest.source, newest.coin, model, newest.model_version, hour].join("|");
  const left: number[] = [];
  for (const hour of plan(until, hours)) {
    const known = settled.get(key(hour));
    if (known) found.set(hour, known);
    else left.push(hour);
  }
  tell(gathered());
  let whole = true;
  const work = async () => {
    for (let hour = left.shift(); hour !== undefined && !signal.aborted; hour = left.shift()) {
      const answer = await askPast(newest.coin, hour, model, signal);
      if (answer) {
        found.set(hour, answer);
        if (answer.actual_price !== null) settled.set(key(hour), answer);
        if (found.size % 12 === 0) tell(gathered());
      } else whole = false;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (!signal.aborted) tell(gathered());
  return whole;
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
