import { describe, expect, it } from "vitest";
import { coverageWord, dayBars, expectedCoverage, HOURS_TO_TELL, kinds, verdict } from "./record";

describe("the verdict", () => {
  const judged = (n: number, mase: number | null, model = "lasso") => verdict({ n, mase, model });
  it("is silent without hours, and careful with few", () => {
    expect(judged(0, null).kind).toBe("none");
    expect(judged(HOURS_TO_TELL - 1, 0.5).kind).toBe("early");
    expect(HOURS_TO_TELL).toBeGreaterThan(800);
    expect(HOURS_TO_TELL).toBeLessThan(1000);
  });
  it("says better, worse, or that nothing shows", () => {
    expect(judged(HOURS_TO_TELL, 0.99)).toMatchObject({ kind: "better" });
    expect(judged(HOURS_TO_TELL, 0.99).percent).toBeCloseTo(1);
    expect(judged(5000, 1.02).kind).toBe("worse");
    expect(judged(5000, 0.9999).kind).toBe("same");
  });
  it("does not hold the measure against itself", () => expect(judged(5000, 1, "persistence").kind).toBe("reference"));
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
