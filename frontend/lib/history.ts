import { ask, type History, type HistoryAnswer, type Prediction, type ToldForecast } from "./api";

const HOUR = 3_600_000;
/** How far back the service's record can be asked for. */
const REACH = 720;
/** Tries, and the pause between them: a service that has just started makes up for the hours that it missed within seconds. */
const TRIES = 4, PAUSE = 5000;

/** A forecast of the past; `late` where it was made when its hour was over already. */
export type Told = Pick<ToldForecast, "predicted_for" | "predicted_price" | "current_price" | "interval" | "interval_50" | "actual_price" | "late">;

export interface Past {
  /** Closing prices by the hour's end, oldest first */
  closes: { time: number; close: number }[];
  /** Forecasts by the hour they are for, oldest first */
  forecasts: Told[];
}

const closedHour = (newest: Prediction): number => Math.floor(Date.parse(newest.data_until) / HOUR) * HOUR;

/** How many hours of the service's record lie behind a forecast: those wanted, and those that have passed since; 0 where it is older than the record. */
export function askedHours(newest: Prediction, hours: number): number {
  const minute = HOUR / 60; // that an hour takes to be final
  const since = Math.max(0, Math.floor((Date.parse(newest.request_time) - minute - closedHour(newest)) / HOUR));
  return since < REACH ? Math.min(REACH, hours + since) : 0;
}

/** A forecast that was asked for, as the record would tell it. */
function toTold(one: Prediction): Told {
  const { predicted_for, predicted_price, current_price, interval, interval_50, actual_price } = one;
  return { predicted_for, predicted_price, current_price, interval, interval_50, actual_price, late: Date.parse(one.request_time) >= Date.parse(predicted_for) };
}

/** What is known of the `hours` before a forecast: its own day of prices, and what is on record. */
export function gather(newest: Prediction, hours: number, history: History | null): Past {
  const until = closedHour(newest), since = until - hours * HOUR, target = Date.parse(newest.predicted_for);
  const closes = new Map<number, number>();
  for (const price of [...newest.past_24_hour_prices, ...(history?.prices ?? [])]) closes.set(Date.parse(price.time), price.close);
  if (newest.actual_price !== null) closes.set(target, newest.actual_price);
  const forecasts = new Map<number, Told>();
  for (const one of history?.forecasts ?? []) forecasts.set(Date.parse(one.predicted_for), one);
  // The forecast that the page shows is drawn as it is shown, even if another version spoke at the time.
  if (forecasts.get(target)?.predicted_price !== newest.predicted_price) forecasts.set(target, toTold(newest));
  const last = newest.actual_price === null ? until : target;
  const inOrder = <T,>(map: Map<number, T>, from: number, to: number) => [...map].filter(([time]) => time >= from && time <= to).sort(([one], [other]) => one - other);
  return {
    closes: inOrder(closes, since, last).map(([time, close]) => ({ time, close })),
    forecasts: inOrder(forecasts, since + 1, target).map(([, one]) => one),
  };
}

/** Of forecasts whose price is known: how many lay within each interval, and how many were made only afterwards. */
export function judge(forecasts: readonly Told[]) {
  const known = forecasts.filter((one) => one.actual_price !== null);
  const within = (pick: "interval" | "interval_50") => known.filter((one) => one.actual_price! >= one[pick].low && one.actual_price! <= one[pick].high).length;
  return { known: known.length, late: known.filter((one) => one.late).length, within90: within("interval"), within50: within("interval_50") };
}

/** Load the past behind a forecast; `tell` hears of it as it comes, and `false` comes back where parts could not be had. */
export async function loadPast(newest: Prediction, hours: number, model: string, signal: AbortSignal, tell: (past: Past) => void, pause = PAUSE): Promise<boolean> {
  tell(gather(newest, hours, null));
  const wanted = askedHours(newest, hours);
  for (let attempt = 1; wanted > 0 && !signal.aborted; attempt++) {
    const history = await askHistory(newest.coin, wanted, model, signal);
    if (history && !signal.aborted) tell(gather(newest, hours, history));
    const fresh = history !== null && !history.stale;
    if ((fresh && history.forecasts.length >= Math.min(24, hours)) || attempt === TRIES) return fresh;
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
  return false;
}

/** The record of the last hours, or null where it cannot be had now. */
async function askHistory(coin: string, hours: number, model: string, signal: AbortSignal): Promise<History | null> {
  try {
    return (await ask<HistoryAnswer>("/api/history", { coin, model_name: model, hours: String(hours) }, signal)).history;
  } catch {
    return null; // The reader is told that parts are missing, and the forecast above stands for itself
  }
}
