import { afterEach, describe, expect, it, vi } from "vitest";
import type { History, Prediction } from "./api";
import { askedHours, evenTimes, gather, gatherInside, judge, lastDrawn, loadPast, plan, type Past, type Told } from "./history";

const HOUR = 3_600_000;
const NOON = Date.UTC(2024, 0, 31, 12);
const iso = (time: number) => new Date(time).toISOString().replace(".000Z", "Z");

/** A forecast of a market whose price is the hour's number: 24 prices, and the one that came. */
function made(hour: number, actual: boolean, version = "1"): Prediction {
  const price = (time: number) => time / HOUR;
  return {
    coin: "BTC-USD", model: "lasso", model_version: version, source: "sim", mode: "hour", request_time: iso(NOON + 20 * HOUR / 60), data_until: iso(hour), predicted_for: iso(hour + HOUR),
    current_price: price(hour), predicted_price: price(hour), difference: 0, difference_bps: 0, stale: false, unusual_hours: [], backtest: { mase: null, coverage_90: null }, new: false,
    interval: { level: 0.9, low: price(hour) - 2, high: price(hour) + 2 }, interval_50: { level: 0.5, low: price(hour) - 0.5, high: price(hour) + 0.5 },
    past_24_hour_prices: Array.from({ length: 24 }, (_, index) => hour - (23 - index) * HOUR).map((time) => ({ time: iso(time), close: price(time) })),
    actual_price: actual ? price(hour + HOUR) : null, horizon_minutes: 60, provisional: false, issued_after: null, volatility: { bps: 50, annualised: 0.5, rank_30d: null }, probability_up: 0.5, size: null,
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
    coin: "BTC-USD", model: "lasso", model_version: "1", source: "sim", horizon_minutes: 60, until: iso(NOON), stale,
    prices: back(hours).map((time) => ({ time: iso(time), close: time / HOUR })),
    forecasts: [...back(forecasts), ...(forecasts ? [NOON + HOUR] : [])].map((hour) => ({ ...told(hour), model_version: "0", requested: iso(hour - HOUR + 61_000) })),
  };
}

/** A service with such a record (an error status without one); what it is asked comes back. */
function serve(answer: (hours: number) => History | number, predict: (hour: number) => Prediction | number = (hour) => made(hour, true)) {
  const asked = { history: [] as string[], predict: [] as string[], most: 0 };
  let under = 0;
  vi.stubGlobal("fetch", async (url: string) => {
    const { pathname, searchParams } = new URL(url, "http://here");
    asked.most = Math.max(asked.most, ++under);
    await new Promise((resolve) => setTimeout(resolve, 1));
    under -= 1;
    const past = pathname === "/api/history";
    asked[past ? "history" : "predict"].push(searchParams.get(past ? "hours" : "time_from")!);
    const body = past ? answer(Number(searchParams.get("hours"))) : predict(Date.parse(searchParams.get("time_from")!));
    if (typeof body === "number") return Response.json({ type: "about:blank", title: "No", status: body, detail: "no" }, { status: body });
    return Response.json(past ? { history: body } : { prediction: body });
  });
  return asked;
}

const load = async (newest: Prediction, hours: number) => {
  const seen: Past[] = [];
  const whole = await loadPast(newest, hours, "champion", new AbortController().signal, (past) => seen.push(past));
  return { whole, seen, past: seen.at(-1)! };
};

afterEach(() => vi.unstubAllGlobals());

it("asks for what the record lacks: forecasts of a day, and prices from before it", () => {
  const all = new Set(Array.from({ length: 24 }, (_, index) => NOON - index * HOUR));
  expect(plan(NOON, 24, new Set(), Infinity)).toHaveLength(24);
  expect(plan(NOON, 24, new Set(), Infinity)[0]).toBe(NOON - HOUR);
  expect(plan(NOON, 720, all, NOON - 720 * HOUR)).toEqual([]);
  expect(plan(NOON, 168, new Set([...all].slice(1)), NOON - 168 * HOUR)).toEqual([NOON - HOUR]);
  expect(plan(NOON, 168, all, Infinity)).toHaveLength(6);
  expect(plan(NOON, 720, all, NOON - 600 * HOUR).map((hour) => (NOON - hour) / HOUR)).toEqual([600, 624, 648, 672, 696]);
});

it("asks for as much of the record as lies behind a forecast", () => {
  const asked = (request_time: number, until: number, hours: number) => askedHours({ ...made(until, false), request_time: iso(request_time) }, hours);
  expect(asked(NOON + HOUR / 3, NOON, 24)).toBe(24);
  expect(asked(NOON + HOUR + 30_000, NOON, 24)).toBe(24); // not final yet
  expect(asked(NOON + HOUR / 3, NOON - 5 * HOUR, 24)).toBe(29);
  expect(asked(NOON + HOUR / 3, NOON - 5 * HOUR, 720)).toBe(720);
  expect(asked(NOON + HOUR / 3, NOON - 720 * HOUR, 24)).toBe(0);
});

it("puts prices and forecasts in order, once each, from a moment on", () => {
  const past = gather(made(NOON, false), 24, null, [made(NOON - HOUR, true), made(NOON - 24 * HOUR, true), made(NOON - 48 * HOUR, true)]);
  expect(past.closes).toHaveLength(25);
  expect(past.closes[0]).toEqual({ time: NOON - 24 * HOUR, close: (NOON - 24 * HOUR) / HOUR });
  expect(past.forecasts.map((one) => Date.parse(one.predicted_for))).toEqual([NOON - 23 * HOUR, NOON, NOON + HOUR]);
  expect(gather(made(NOON, false), 72, null, [made(NOON - 48 * HOUR, true)]).forecasts).toHaveLength(1); // asked for its prices alone
});

it("shows what was said at the time rather than what is said today", () => {
  const changed = { ...made(NOON - HOUR, true, "2"), predicted_price: 1 };
  const past = gather(made(NOON, false), 24, record(24), [changed]);
  expect(past.forecasts.map((one) => one.late)).toEqual(Array(25).fill(false));
  expect(past.forecasts.at(-2)!.predicted_price).toBe((NOON - HOUR) / HOUR);
  const shown = gather(changed, 20, record(24)); // but the forecast that a reader has asked for stays as it was answered
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
  expect([whole, asked.history, asked.predict]).toEqual([true, ["720"], []]);
  expect([past.closes.length, past.forecasts.length]).toEqual([720, 721]);
});

it("asks a new service for the last day, a few questions at a time, and keeps what is settled", async () => {
  const asked = serve((hours) => record(hours, { forecasts: 0 }));
  const { whole, past } = await load(made(NOON, false, "3"), 168);
  expect([whole, asked.history, asked.predict.length, asked.most]).toEqual([true, ["168"], 24, 4]);
  expect([past.closes.length, judge(past.forecasts)]).toEqual([168, { known: 24, late: 24, within90: 24, within50: 0 }]);
  await load(made(NOON, false, "3"), 24);
  expect(asked.predict).toHaveLength(24);
});

it("asks for nothing but the hours that the record lacks", async () => {
  const asked = serve((hours) => record(hours, { forecasts: 20 }));
  const { past } = await load(made(NOON, false, "4"), 24);
  expect(asked.predict).toHaveLength(4);
  expect(judge(past.forecasts)).toMatchObject({ known: 24, late: 4 });
});

it("does without a record that is away, and says so", async () => {
  const asked = serve(() => 503);
  const { whole, past } = await load(made(NOON, false, "5"), 72);
  expect([whole, asked.history.length, asked.predict.length]).toEqual([false, 1, 24 + 1]); // two days back; one day back is a forecast already
  expect([past.closes.length, past.forecasts.length]).toEqual([72, 25]);
  serve((hours) => record(hours, { stale: true }));
  expect((await load(made(NOON, false, "5"), 72)).whole).toBe(false);
});

it("asks hour by hour where no record reaches", async () => {
  const asked = serve(() => 500);
  const { whole, past } = await load(made(NOON - 9000 * HOUR, true, "6"), 24);
  expect([whole, asked.history, asked.predict.length, past.closes.length]).toEqual([true, [], 24, 26]);
});

it("does without hours that there is no history for", async () => {
  serve((hours) => record(hours, { forecasts: 0 }), () => 409);
  const { whole, past } = await load(made(NOON, false, "7"), 24);
  expect([whole, past.closes.length, past.forecasts.length]).toEqual([false, 24, 1]);
});

describe("the record inside the hour", () => {
  const MINUTE = 60_000;
  /** Forecasts for `horizon` minutes ahead at each quarter up to noon, whose outcomes are known up to noon, and closes of quarters up to noon. */
  function inside(horizon: number, quarters: number) {
    const made = Array.from({ length: quarters }, (_, index) => NOON - (quarters - 1 - index) * 15 * MINUTE);
    const forecasts = made.map((time) => {
      const target = time + horizon * MINUTE, price = time / HOUR;
      return {
        predicted_for: iso(target), predicted_price: price, current_price: price, interval: { level: 0.9, low: price - 2, high: price + 2 }, interval_50: { level: 0.5, low: price - 1, high: price + 1 },
        actual_price: target <= NOON ? target / HOUR : null, model_version: "1", requested: iso(time + 2000), late: false,
      };
    });
    return { horizon_minutes: horizon, until: iso(NOON), prices: made.map((time) => ({ time: iso(time), close: time / HOUR })), forecasts };
  }
  const after = (time: number) => (time - NOON) / MINUTE;

  it("holds the quarters of as many hours as are wanted, up to the coming forecasts", () => {
    const past = gatherInside(inside(30, 96), 6);
    expect([past.closes.length, after(past.closes[0]!.time), after(past.closes.at(-1)!.time)]).toEqual([25, -360, 0]);
    expect(past.forecasts.map((one) => after(Date.parse(one.predicted_for))).slice(-3)).toEqual([0, 15, 30]);
    expect(lastDrawn(past, "BTC-USD", 30)).toMatchObject({ coin: "BTC-USD", data_until: "2024-01-31T12:00:00.000Z", predicted_for: "2024-01-31T12:30:00Z", current_price: NOON / HOUR });
  });
  it("has the prices that came between quarters", () => {
    expect(gatherInside(inside(5, 8), 24).closes.map(({ time }) => after(time)).slice(-5)).toEqual([-30, -25, -15, -10, 0]);
  });
  it("ends at a past hour where one is shown", () => {
    const past = gatherInside(inside(15, 96), 6, NOON - 2 * HOUR);
    expect(past.closes.map(({ time }) => after(time)).slice(-2)).toEqual([-120, -105]);
    expect(after(Date.parse(past.forecasts.at(-1)!.predicted_for))).toBe(-105);
    expect(after(past.closes[0]!.time)).toBe(-480);
  });
  it("may be empty", () => {
    const none = gatherInside({ ...inside(15, 0), prices: [] }, 24);
    expect([none, lastDrawn(none, "BTC-USD", 15)]).toEqual([{ closes: [], forecasts: [] }, null]);
  });
});

describe("the times of a chart", () => {
  const at = (minutes: number) => NOON / 1000 + 60 * minutes;
  const newest = { data_until: iso(NOON), predicted_for: iso(NOON + HOUR / 12) };

  it("lie at even distances, also where nothing was recorded", () => {
    const past: Past = { closes: [{ time: NOON - HOUR, close: 1 }, { time: NOON - HOUR / 4, close: 1 }], forecasts: [] };
    expect(evenTimes(past, newest, 300)).toEqual(Array.from({ length: 14 }, (_, index) => at(5 * index - 60)));
  });

  it("begin with the first forecast where that is older than the first price", () => {
    const past = { closes: [], forecasts: [{ predicted_for: iso(NOON - HOUR / 6) }] } as unknown as Past;
    expect(evenTimes(past, newest, 300)).toEqual([-10, -5, 0, 5].map(at));
    expect(evenTimes({ closes: [], forecasts: [] }, newest, 900)).toEqual([at(0)]);
  });
});
