import { afterEach, expect, it, vi } from "vitest";
import type { Prediction } from "./api";
import { gather, judge, loadPast, plan, type Past } from "./history";

const HOUR = 3_600_000;
const NOON = Date.UTC(2024, 0, 31, 12);
const iso = (time: number) => new Date(time).toISOString().replace(".000Z", "Z");

/** A forecast of a market whose price is the hour's number: 24 prices, and the one that came. */
function made(hour: number, actual: boolean, version = "1"): Prediction {
  const price = (time: number) => time / HOUR;
  return {
    coin: "BTC-USD", model: "lasso", model_version: version, source: "sim", mode: "hour", request_time: iso(NOON), data_until: iso(hour), predicted_for: iso(hour + HOUR),
    current_price: price(hour), predicted_price: price(hour), difference: 0, difference_bps: 0, stale: false, backtest: { mase: null, coverage_90: null },
    interval: { level: 0.9, low: price(hour) - 2, high: price(hour) + 2 }, interval_50: { level: 0.5, low: price(hour) - 0.5, high: price(hour) + 0.5 },
    past_24_hour_prices: Array.from({ length: 24 }, (_, index) => hour - (23 - index) * HOUR).map((time) => ({ time: iso(time), close: price(time) })),
    actual_price: actual ? price(hour + HOUR) : null,
  };
}

afterEach(() => vi.unstubAllGlobals());

it("asks for each hour of a day, for three days of forecasts, and then for prices alone", () => {
  expect(plan(NOON, 24)).toHaveLength(24);
  expect(plan(NOON, 24)[0]).toBe(NOON - HOUR);
  expect(plan(NOON, 168)).toHaveLength(72 + 3); // days 4, 5 and 6 back; three days back is a forecast already
  expect(plan(NOON, 720)).toHaveLength(72 + 26);
});

it("puts prices and forecasts in order, once each, from a moment on", () => {
  const past = gather([made(NOON, false), made(NOON - HOUR, true), made(NOON - 24 * HOUR, true)], NOON - 24 * HOUR);
  expect(past.closes).toHaveLength(25);
  expect(past.closes[0]).toEqual({ time: NOON - 24 * HOUR, close: (NOON - 24 * HOUR) / HOUR });
  expect(gather([made(NOON, false), made(NOON - 24 * HOUR, true)], NOON - 24 * HOUR, NOON).forecasts).toHaveLength(1);
  expect(past.forecasts.map((one) => Date.parse(one.predicted_for))).toEqual([NOON - 23 * HOUR, NOON, NOON + HOUR]);
});

it("judges what is known and nothing else", () => {
  expect(judge([made(NOON, false), made(NOON - HOUR, true)])).toEqual({ known: 1, within90: 1, within50: 0 });
  expect(judge([])).toEqual({ known: 0, within90: 0, within50: 0 });
});

it("loads a day once, a few questions at a time, and keeps what is settled", async () => {
  let under = 0, most = 0;
  const asked: string[] = [];
  vi.stubGlobal("fetch", async (url: string) => {
    most = Math.max(most, ++under);
    await new Promise((resolve) => setTimeout(resolve, 1));
    under -= 1;
    const time = new URL(url, "http://here").searchParams.get("time_from")!;
    asked.push(time);
    return Response.json({ prediction: made(Date.parse(time), true) });
  });
  const seen: Past[] = [];
  const load = () => loadPast(made(NOON, false), 24, "champion", new AbortController().signal, (past) => seen.push(past));
  expect(await load()).toBe(true);
  expect(asked).toHaveLength(24);
  expect(most).toBe(4);
  expect(seen.at(-1)!.closes).toHaveLength(25);
  await load();
  expect(asked).toHaveLength(24);
});

it("does without hours that there is no history for", async () => {
  vi.stubGlobal("fetch", async () => Response.json({ type: "about:blank", title: "Not enough history", status: 409, detail: "too early" }, { status: 409 }));
  const seen: Past[] = [];
  expect(await loadPast(made(NOON, false, "2"), 24, "champion", new AbortController().signal, (past) => seen.push(past))).toBe(false);
  expect(seen.at(-1)!.closes).toHaveLength(24);
});
