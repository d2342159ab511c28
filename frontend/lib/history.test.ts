import { afterEach, expect, it, vi } from "vitest";
import type { History, Prediction } from "./api";
import { askedHours, gather, judge, loadPast, type Past, type Told } from "./history";

const HOUR = 3_600_000;
const NOON = Date.UTC(2024, 0, 31, 12);
const iso = (time: number) => new Date(time).toISOString().replace(".000Z", "Z");

/** A forecast of a market whose price is the hour's number: 24 prices, and the one that came. */
function made(hour: number, actual: boolean, version = "1"): Prediction {
  const price = (time: number) => time / HOUR;
  return {
    coin: "BTC-USD", model: "lasso", model_version: version, source: "sim", mode: "hour", request_time: iso(NOON + 20 * HOUR / 60), data_until: iso(hour), predicted_for: iso(hour + HOUR),
    current_price: price(hour), predicted_price: price(hour), difference: 0, difference_bps: 0, stale: false, backtest: { mase: null, coverage_90: null },
    interval: { level: 0.9, low: price(hour) - 2, high: price(hour) + 2 }, interval_50: { level: 0.5, low: price(hour) - 0.5, high: price(hour) + 0.5 },
    past_24_hour_prices: Array.from({ length: 24 }, (_, index) => hour - (23 - index) * HOUR).map((time) => ({ time: iso(time), close: price(time) })),
    actual_price: actual ? price(hour + HOUR) : null,
  };
}

/** What the service has on record of the last `hours`: forecasts in time, those of the first `late` hours made up for. */
function record(hours: number, { forecasts = hours, late = 0, stale = false } = {}): History {
  const told = (hour: number): Told => {
    const { predicted_for, predicted_price, current_price, interval, interval_50, actual_price } = made(hour - HOUR, hour <= NOON);
    return { predicted_for, predicted_price, current_price, interval, interval_50, actual_price, late: hour <= NOON - (forecasts - late) * HOUR };
  };
  const back = (count: number) => Array.from({ length: count }, (_, index) => NOON - (count - 1 - index) * HOUR);
  return {
    coin: "BTC-USD", model: "lasso", model_version: "1", source: "sim", until: iso(NOON), stale,
    prices: back(hours).map((time) => ({ time: iso(time), close: time / HOUR })),
    forecasts: [...back(forecasts), ...(forecasts ? [NOON + HOUR] : [])].map((hour) => ({ ...told(hour), model_version: "0", requested: iso(hour - HOUR + 61_000) })),
  };
}

/** A service that answers so, one answer after the other, the last again and again; what it is asked comes back. */
function serve(...answers: (((hours: number) => History) | number)[]): string[] {
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    const { pathname, searchParams } = new URL(url, "http://here");
    const answer = answers[Math.min(asked.length, answers.length - 1)]!;
    asked.push(`${pathname} ${searchParams.get("hours")}`);
    if (typeof answer === "number") return Response.json({ type: "about:blank", title: "No", status: answer, detail: "no" }, { status: answer });
    return Response.json({ history: answer(Number(searchParams.get("hours"))) });
  });
  return asked;
}

const load = async (newest: Prediction, hours: number) => {
  const seen: Past[] = [];
  const whole = await loadPast(newest, hours, "champion", new AbortController().signal, (past) => seen.push(past), 1);
  return { whole, seen, past: seen.at(-1)! };
};

afterEach(() => vi.unstubAllGlobals());

it("asks for as much of the record as lies behind a forecast", () => {
  const asked = (request_time: number, until: number, hours: number) => askedHours({ ...made(until, false), request_time: iso(request_time) }, hours);
  expect(asked(NOON + HOUR / 3, NOON, 24)).toBe(24);
  expect(asked(NOON + HOUR + 30_000, NOON, 24)).toBe(24); // not final yet
  expect(asked(NOON + HOUR / 3, NOON - 5 * HOUR, 24)).toBe(29);
  expect(asked(NOON + HOUR / 3, NOON - 5 * HOUR, 720)).toBe(720);
  expect(asked(NOON + HOUR / 3, NOON - 720 * HOUR, 24)).toBe(0);
});

it("puts prices and forecasts in order, once each, from a moment on", () => {
  const past = gather(made(NOON, false), 24, record(48));
  expect(past.closes.map(({ time }) => time)).toEqual(Array.from({ length: 25 }, (_, index) => NOON - (24 - index) * HOUR));
  expect(past.forecasts.map((one) => Date.parse(one.predicted_for))).toEqual(Array.from({ length: 25 }, (_, index) => NOON - (23 - index) * HOUR));
  expect(gather(made(NOON, false), 24, null)).toMatchObject({ closes: { length: 24 }, forecasts: { length: 1 } });
});

it("shows what was said at the time rather than what is said today, but the forecast above as it was answered", () => {
  const changed = { ...made(NOON - HOUR, true, "2"), predicted_price: 1 };
  expect(gather(made(NOON, false), 24, record(24)).forecasts.at(-2)!.predicted_price).toBe((NOON - HOUR) / HOUR);
  const shown = gather(changed, 20, record(24));
  expect(shown.forecasts.at(-1)).toMatchObject({ predicted_price: 1, late: true });
  expect(Math.max(...shown.closes.map(({ time }) => time))).toBe(NOON);
});

it("judges what is known and nothing else", () => {
  const told = gather(made(NOON, false), 24, record(24, { late: 3 })).forecasts;
  expect(judge(told.slice(-2))).toEqual({ known: 1, late: 0, within90: 1, within50: 0 });
  expect(judge(told)).toEqual({ known: 24, late: 3, within90: 24, within50: 0 });
  expect(judge([])).toEqual({ known: 0, late: 0, within90: 0, within50: 0 });
});

it("loads a month by one question", async () => {
  const asked = serve((hours) => record(hours));
  const { whole, past } = await load(made(NOON, false), 720);
  expect([whole, asked]).toEqual([true, ["/api/history 720"]]);
  expect([past.closes.length, past.forecasts.length]).toEqual([720, 721]);
});

it("asks a service again that has just started, and has not made up for what it missed", async () => {
  const asked = serve(503, (hours) => record(hours, { forecasts: 3 }), (hours) => record(hours, { late: 20 }));
  const { whole, seen } = await load(made(NOON, false), 24);
  expect([whole, asked.length, seen.map((past) => past.forecasts.length)]).toEqual([true, 3, [1, 4, 25]]);
});

it("takes what there is when no more comes", async () => {
  const asked = serve((hours) => record(hours, { forecasts: 3 }));
  const { whole, past } = await load(made(NOON, false), 24);
  expect([whole, asked.length, past.forecasts.length]).toEqual([true, 4, 4]);
});

it("does without a record that is away or stale, and says so", async () => {
  const away = serve(503);
  expect(await load(made(NOON, false), 72)).toMatchObject({ whole: false, past: { closes: { length: 24 }, forecasts: { length: 1 } } });
  expect(away).toHaveLength(4);
  serve((hours) => record(hours, { stale: true }));
  expect(await load(made(NOON, false), 72)).toMatchObject({ whole: false, past: { closes: { length: 72 } } });
});

it("asks nothing where no record reaches", async () => {
  const asked = serve(503);
  expect(await load(made(NOON - 9000 * HOUR, true), 24)).toMatchObject({ whole: false, past: { closes: { length: 25 }, forecasts: { length: 1 } } });
  expect(asked).toEqual([]);
});
