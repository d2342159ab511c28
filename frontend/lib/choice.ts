import type { CoinInfo } from "./api";
import { HOURLY, horizonsOf } from "./path";

/** What a reader chose; the address holds it, so that it can be shared. */
export interface Choice {
  coin: string;
  /** `now`, hours back as the API takes them, or the start of the question as an ISO time */
  time: string;
  model: string;
  /** Minutes ahead of the forecasts whose record is shown; it stands in the address where it is not 60 */
  horizon: number;
}

const HOUR = 3_600_000;

export function readChoice(query: URLSearchParams, coins: readonly CoinInfo[]): Choice {
  const coin = query.get("coin") ?? coins[0]?.coin ?? "", horizon = Number(query.get("horizon"));
  return {
    coin,
    time: query.get("time") ?? "now",
    model: query.get("model") ?? "champion",
    horizon: horizonsOf(coins.find((one) => one.coin === coin)).includes(horizon) ? horizon : HOURLY,
  };
}

export function writeChoice(choice: Choice): string {
  const { coin, time, model, horizon } = choice;
  return `?${new URLSearchParams({ coin, time, model, ...horizonQuery(horizon) }).toString().replaceAll("%3A", ":")}`;
}

/** A horizon as a parameter of a question. The hour is asked for as it always was, so that older services understand it. */
export const horizonQuery = (horizon: number): Record<string, string> => (horizon === HOURLY ? {} : { horizon: String(horizon) });

/** A full hour in the API's words: no fractions of seconds. */
export function isoHour(milliseconds: number): string {
  return new Date(Math.floor(milliseconds / HOUR) * HOUR).toISOString().replace(".000Z", "Z");
}

/**
 * The hour a question was asked from. A shared address has to mean the same hour tomorrow, so that choosing a past hour writes its time,
 * while `5` (hours back), which the API knows too, is still read.
 */
export function chosenHour(time: string, now: number): number | null {
  if (time === "now") return null;
  if (/^\d+$/.test(time)) return Math.floor(now / HOUR) * HOUR - Number(time) * HOUR;
  const moment = Date.parse(time);
  return Number.isNaN(moment) ? null : Math.floor(moment / HOUR) * HOUR;
}

/** Hours that a list offers: each of the last day, every sixth of the two before; and the chosen one wherever it lies. */
export function offeredHours(lastClosed: number, chosen: number | null): number[] {
  const back = Array.from({ length: 72 }, (_, index) => index + 1).filter((hours) => hours <= 24 || hours % 6 === 0);
  const hours = new Set(back.map((one) => lastClosed - one * HOUR));
  if (chosen !== null) hours.add(chosen);
  return [...hours].sort((one, other) => other - one);
}
