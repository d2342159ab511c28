import { describe, expect, it } from "vitest";
import { asSentence, boundPercent, oddsWords, pathWords, secondsWords, sizeWords, spokenPoint, volatilityWords } from "./path-words";
import { samplePath, samplePoint } from "./sample";

const range = (low: number, high: number) => ({ level: 0.9, low, high });

it("a bound has two digits, and never excludes what lies within it", () => {
  expect([0.003, 0.00301, 0.0123, 0.000345, 0.12, 0.123, 0.000999, 0].map(boundPercent)).toEqual(["0.30 %", "0.31 %", "1.3 %", "0.035 %", "12 %", "13 %", "0.10 %", "0 %"]);
  for (let share = 1e-7; share < 1; share *= 1.37) expect(Number.parseFloat(boundPercent(share)) / 100).toBeGreaterThanOrEqual(share * (1 - 1e-9));
});

it("odds are said with the likelier side", () => {
  expect([0.52, 0.48, 0.5].map(oddsWords)).toEqual(["a rise is as likely as a fall (52 %)", "a rise is as likely as a fall (48 %)", "a rise is as likely as a fall (50 %)"]);
  expect(oddsWords(0.55)).toBe("a rise is slightly more likely than a fall (55 %)");
  expect(oddsWords(0.61)).toBe("a rise is more likely than a fall (61 %)");
  expect(oddsWords(0.4)).toBe("a fall is more likely than a rise (60 %)");
});

describe("the sentences of a path", () => {
  const near = samplePoint(15, { interval: range(41_900, 42_126), difference_bps: 0.42 }), far = samplePoint(60, { interval: range(41_740, 42_200), difference_bps: -1.2, probability_up: 0.44 });
  it("say the width, the move and the odds in a quarter of an hour and in an hour", () => {
    expect(pathWords(samplePath({ points: [samplePoint(5), near, samplePoint(30), far] }))).toEqual([
      "Expected to stay within 0.30 % in 15 minutes nine times in ten; the median move is +0.420 bps, and a rise is as likely as a fall (52 %).",
      "Within 0.62 % in 60 minutes; the median move is −1.2 bps, and a fall is slightly more likely than a rise (56 %).",
    ]);
  });
  it("forecast no direction where nothing of the median is used, and for persistence", () => {
    const one = pathWords(samplePath({ points: [near, { ...far, size: 0 }] }));
    expect(one).toEqual([expect.stringContaining("(52 %)"), "Within 0.62 % in 60 minutes; no direction is forecast at this horizon."]);
    expect(pathWords(samplePath({ points: [{ ...near, model: "persistence", size: null }, { ...far, size: 0 }] }))).toEqual([
      "Expected to stay within 0.30 % in 15 minutes and within 0.62 % in 60 minutes, nine times in ten each; no direction is forecast at either horizon.",
    ]);
    expect(pathWords(samplePath({ points: [near, { ...far, size: null }] }))[1]).toContain("the median move is"); // a model of whole hours
  });
  it("make do with the horizons that there are", () => {
    expect(pathWords(samplePath({ points: [{ ...near, size: 0 }] }))).toEqual(["Expected to stay within 0.30 % in 15 minutes nine times in ten; no direction is forecast at this horizon."]);
    expect(spokenPoint(samplePath({ points: [samplePoint(5), samplePoint(30)] })).horizon_minutes).toBe(5);
  });
});

it("movement is calm, usual or lively by its place among the last 30 days, and nothing where that is not known", () => {
  const said = (rank_30d: number | null, bps = 12.34) => volatilityWords(samplePoint(15, { volatility: { bps, annualised: 0.5, rank_30d } }));
  expect(said(0.12)).toBe("Movement is calm: the standard deviation over 15 minutes is 12 bps, and 88 % of the forecasts of the last 30 days expected more.");
  expect(said(0.91, 9.87)).toBe("Movement is lively: the standard deviation over 15 minutes is 9.9 bps, and 91 % of the forecasts of the last 30 days expected less.");
  expect([0.19, 0.2, 0.5, 0.8, 0.81].map((rank) => /is ([a-z ]+):/.exec(said(rank)!)![1])).toEqual(["calm", "as usual", "as usual", "as usual", "lively"]);
  expect(said(null)).toBeNull();
});

it("what the service says is a sentence", () => {
  expect(["no model of 5 minutes is in use", "It is."].map(asSentence)).toEqual(["No model of 5 minutes is in use.", "It is."]);
});

it("seconds are as fine as they matter", () => {
  expect([-0.1, 0.04, 1.36, 9.94, 9.96, 62.3, 119, 130, 3600].map(secondsWords)).toEqual(["0.0 s", "0.0 s", "1.4 s", "9.9 s", "10 s", "62 s", "119 s", "2 minutes", "60 minutes"]);
});

it("the size says how much of a median is used", () => {
  expect(sizeWords(0)).toMatch(/no direction is forecast/);
  expect(sizeWords(0.4)).toBe("40 % of the model’s own predicted move is used.");
  expect(sizeWords(1)).toBe("The model’s own predicted move is used in full.");
  expect(sizeWords(null)).toBeNull();
});
