import { describe, expect, it } from "vitest";
import { hasPath, horizonsOf, merged, newer, readPath, settledQuarter, withPrice, type PriceAt } from "./path";
import { samplePath, samplePoint, START } from "./sample";

const MINUTE = 60_000;

describe("reading a path", () => {
  it("takes what the service sends, nearest point first", () => {
    const path = samplePath();
    expect(readPath(JSON.parse(JSON.stringify(path)))).toEqual(path);
    expect(readPath({ ...path, points: path.points.toReversed() })).toEqual(path);
  });
  it("leaves out a point that cannot be drawn", () => {
    const broken = [samplePoint(15, { interval: null as never }), samplePoint(30, { predicted_price: null as never }), samplePoint(60, { volatility: undefined as never })];
    expect(readPath(samplePath({ points: [samplePoint(5), ...broken] }))!.points.map((one) => one.horizon_minutes)).toEqual([5]);
  });
  it("is null where there is nothing to draw", () => {
    for (const data of [undefined, null, 3, "path", [], {}, { path: samplePath() }, samplePath({ points: [] }), samplePath({ data_until: "soon" }), samplePath({ current_price: NaN })]) expect(readPath(data)).toBeNull();
  });
});

describe("of two paths", () => {
  const [old, next] = [samplePath(), samplePath({}, START + MINUTE)];
  it("the later minute is shown, in whatever order they come", () => {
    expect(newer(old, next)).toBe(next);
    expect(newer(next, old)).toBe(next);
    expect(newer(null, old)).toBe(old);
    expect(newer(old, null)).toBe(old);
  });
  it("a correction of the same minute replaces the first issue", () => {
    const corrected = samplePath({ current_price: 42_001 });
    expect(newer(old, corrected)).toBe(corrected);
  });
  it("that of another coin replaces it, whatever its minute", () => {
    const other = samplePath({ coin: "ETH-USD" });
    expect(newer(next, other)).toBe(other);
  });
});

it("a coin without horizons inside the hour has no path, nor has one of a service that names none", () => {
  expect([undefined, {}, { horizons: [60] }, { horizons: [5, 60] }].map(hasPath)).toEqual([false, false, false, true]);
  expect(horizonsOf({})).toEqual([60]);
});

it("the record is asked for again once in a quarter, two minutes after its end", () => {
  const at = (minutes: number) => settledQuarter(samplePath({}, Date.UTC(2024, 0, 31, 15, minutes)));
  expect([1, 2, 16, 17, 32].map((minutes) => at(minutes) - at(0))).toEqual([0, 1, 1, 2, 3]);
});

describe("prices that were heard", () => {
  const at = (time: number, price: number): PriceAt => ({ time, price });
  it("keep the last of each cell, and one from before the start", () => {
    let prices: readonly PriceAt[] = [];
    for (const next of [at(1000, 1), at(9000, 2), at(10_000, 3), at(25_000, 4), at(31_000, 5)]) prices = withPrice(prices, next, 12_000, 10_000);
    expect(prices).toEqual([at(10_000, 3), at(25_000, 4), at(31_000, 5)]);
  });
  it("do not go back in time", () => expect(withPrice([at(10_000, 3)], at(9000, 9), 0, 1000)).toEqual([at(10_000, 3)]));
  it("join the closes of the record, and stand where both are known", () => {
    expect(merged([at(15, 2), at(20, 3)], [at(0, 1), at(15, 9)])).toEqual([at(0, 1), at(15, 2), at(20, 3)]);
  });
});
