import { describe, expect, it } from "vitest";
import { coverageWord, dayBars, expectedCoverage, independent, kinds, learnedUntil, unitOf, verdict, whatHappened } from "./record";

describe("the verdict", () => {
  const luck = { share: 0.9, t: 1.7, mase_low: 0.98, mase_high: 1.02, hours_for_one_percent: 900 };
  const judged = (n: number, mase: number | null, dm_t: number | null, model = "lasso") => verdict({ n, mase, model, dm_t, luck: dm_t === null ? null : luck });
  it("is silent without hours, and careful where there is no test", () => {
    expect(judged(0, null, null).kind).toBe("none");
    expect(judged(12, 0.5, null).kind).toBe("early");
    expect(verdict({ n: 30, mase: 0.5, model: "lasso", dm_t: -9, luck: null }).kind).toBe("early");
  });
  it("follows the test, not the ratio", () => {
    expect(judged(600, 0.97, -2.5)).toMatchObject({ kind: "better" });
    expect(judged(600, 0.97, -2.5).percent).toBeCloseTo(3);
    expect(judged(600, 1.03, 2.5).kind).toBe("worse");
    expect(judged(600, 0.8, -1.6).kind).toBe("early");
  });
  it("says that nothing shows only where one percent would have shown", () => {
    expect(judged(899, 0.995, -1).kind).toBe("early");
    expect(judged(900, 0.995, -1).kind).toBe("same");
    expect(judged(900, 1.005, 1).kind).toBe("same");
    expect(judged(900, 1, null).kind).toBe("same");
  });
  it("makes no test of forecasts that overlap, and does not call many of them too few", () => {
    const inside = (n: number, horizon: number, mase = 0.98) => verdict({ n, mase, model: "lasso", dm_t: null, luck: null }, horizon).kind;
    expect([inside(900, 30), inside(49, 30), inside(900, 15), inside(900, 60), inside(900, 30, 1)]).toEqual(["untested", "early", "early", "early", "same"]);
    expect(verdict({ n: 900, mase: 0.97, model: "lasso", dm_t: -2.5, luck }, 15).kind).toBe("better");
    expect([3599, 3600].map((n) => verdict({ n, mase: 0.999, model: "lasso", dm_t: -0.5, luck }, 15).kind)).toEqual(["early", "same"]); // 900 hours of quarters
    expect([5, 15, 30, 60].map((horizon) => independent(100, horizon))).toEqual([100, 100, 50, 100]);
    expect([5, 60].map(unitOf)).toEqual(["forecast", "hour"]);
  });
  it("does not hold the measure against itself", () => expect(judged(5000, 1, null, "persistence").kind).toBe("reference"));
});

describe("what happened last", () => {
  const serving = { champion: "3" };
  const decision = { promoted: true, kind: "lasso", version: "4", reasons: ["it is better"] };
  const told = (last_event: Record<string, unknown> | null, last_decision: Record<string, unknown> | null = decision) => whatHappened({ last_event, last_decision, serving });
  it("is one record, whatever was tested before", () => {
    const event = { kind: "lasso", version: "3", previous_version: "4", reasons: ["asked for by hand"], time: "2024-02-01T10:00:00Z" };
    expect(told({ event: "rolled_back", ...event })).toEqual({ words: "Lasso, version 3, was brought back in place of version 4 on 1 Feb 2024, at 10:00 UTC.", reasons: ["asked for by hand"] });
    expect(told({ event: "promoted", ...event })!.words).toBe("Lasso, version 3, was promoted in place of version 4 on 1 Feb 2024, at 10:00 UTC.");
    expect(told({ event: "refused", ...event, version: "5", kind: "cnn" })!.words).toBe("CNN, version 5, was turned down on 1 Feb 2024, at 10:00 UTC.");
    expect(told({ event: "promoted", kind: "lasso", version: "1", previous_version: null, reasons: [], time: "?" })!.words).toBe("Lasso, version 1, was promoted.");
  });
  it("never calls a version promoted that does not answer", () => {
    expect(told(null)).toBeNull();
    expect(told(null, { ...decision, version: "3" })!.words).toBe("Lasso, version 3, was promoted.");
    expect(told(null, { ...decision, promoted: false })!.words).toBe("Lasso, version 4, was turned down.");
    expect(told(null, null)).toBeNull();
  });
  it("says until when the champion's data reach", () => {
    const until = (train_span: unknown) => learnedUntil({ serving, versions: { "3": { train_span }, "4": { train_span: ["a", "2024-01-01T00:00:00Z"] } } });
    expect(until(["2022-01-01T00:00:00Z", "2023-12-01T00:00:00Z"])).toBe("2023-12-01T00:00:00Z");
    expect([until(undefined), until(["", ""]), learnedUntil({ serving: {}, versions: {} })]).toEqual([null, null, null]);
  });
});

describe("coverage", () => {
  it("allows for chance, less with more hours", () => {
    expect(expectedCoverage(0.9, 10)).toBeNull();
    const day = expectedCoverage(0.9, 24)!, year = expectedCoverage(0.9, 8760)!;
    expect(day.high).toBe(1);
    expect(year.low).toBeCloseTo(0.8937, 3);
    expect(year.high - year.low).toBeLessThan(day.high - day.low);
  });
  it("says in words whether the interval keeps its own", () => {
    expect(coverageWord(null, 0.9, 100)).toBe("too few hours");
    expect(coverageWord(0.9, 0.9, 100)).toBe("as it should");
    expect(coverageWord(0.8, 0.9, 100)).toBe("too narrow");
    expect(coverageWord(0.99, 0.9, 1000)).toBe("too wide");
  });
});

it("lists kinds once, and the measure last", () => {
  expect(kinds(["champion", "persistence", "lasso", "cnn"])).toEqual(["lasso", "cnn", "persistence"]);
  expect(kinds(["champion"])).toEqual([]);
});

it("draws days to scale, and no day without a score", () => {
  const { bars, largest } = dayBars([{ day: "a", n: 24, mase: 0.9 }, { day: "b", n: 24, mase: 1.05 }, { day: "c", n: 0, mase: null }], 50);
  expect(largest).toBeCloseTo(10);
  expect(bars.map((one) => Math.round(one.height))).toEqual([50, -25]);
});
