import { describe, expect, it } from "vitest";
import { area, corners, curved, frameOf, gridPlaces, gridPrices, line, niceStep, since, SIZE, xOf, yOf, type FanPoint } from "./fan";
import { samplePath, samplePoint, START } from "./sample";

const MINUTE = 60_000;
const minutes = (points: readonly FanPoint[]) => points.map(({ time }) => (time - START) / MINUTE);

describe("the corners", () => {
  it("begin at the last close and reach from low to high at each horizon", () => {
    const path = samplePath(), [start, ...ahead] = corners(path);
    expect(start).toEqual({ time: START, low90: 42_000, low50: 42_000, median: 42_000, high50: 42_000, high90: 42_000 });
    expect(minutes(ahead)).toEqual([5, 15, 30, 60]);
    ahead.forEach((corner, index) => {
      const { interval, interval_50: half, predicted_price } = path.points[index]!;
      expect(corner).toMatchObject({ low90: interval.low, low50: half.low, median: predicted_price, high50: half.high, high90: interval.high });
    });
  });
  it("end at the last horizon that there is", () => expect(minutes(corners(samplePath({ points: [samplePoint(5), samplePoint(15)] })))).toEqual([0, 5, 15]));
  it("are the same for a provisional path", () => expect(corners(samplePath({ provisional: true }))).toEqual(corners(samplePath())));
});

describe("the curve", () => {
  const points = corners(samplePath());
  it("goes through every corner and no further", () => {
    const found = curved(points, 4);
    expect(minutes(found)).toEqual([0, 1.25, 2.5, 3.75, 5, 7.5, 10, 12.5, 15, 18.75, 22.5, 26.25, 30, 37.5, 45, 52.5, 60]);
    for (const index of [0, 1, 2, 3, 4]) expect(found[4 * index]).toEqual(points[index]);
    expect(curved([])).toEqual([]);
  });
  it("is that of a random walk: half the width at a quarter of the time", () => {
    const [start, , , , , end] = [...curved([points[0]!, points[4]!], 4), points[4]!]; // 0, 15, 30, 45 and 60 minutes
    const quarter = curved([points[0]!, points[4]!], 4)[1]!;
    expect(quarter.high90 - start!.high90).toBeCloseTo((end!.high90 - start!.high90) / 2, 6);
    for (const { time, low90, high90 } of curved(points)) expect(high90 - low90).toBeCloseTo(2 * 4 * 42 * Math.sqrt((time - START) / MINUTE), 6);
  });
});

describe("the frame", () => {
  const fan = corners(samplePath());
  it("holds the fan and the prices before it, between lines of the grid", () => {
    const frame = frameOf(fan, [{ time: START - 10 * MINUTE, price: 39_000 }, { time: START - 5 * MINUTE, price: 42_100 }], 30 * MINUTE);
    expect([frame.from - START, frame.to - START]).toEqual([-30 * MINUTE, 60 * MINUTE]);
    expect([frame.low, frame.high, frame.step]).toEqual([39_000, 44_000, 1000]);
    expect(gridPrices(frame)).toEqual([39_000, 40_000, 41_000, 42_000, 43_000, 44_000]);
  });
  it("stays while the path hardly moves", () => {
    const bounds = (current: number) => { const { low, high } = frameOf(corners(samplePath({}, START, current)), [], MINUTE); return [low, high]; };
    expect(bounds(42_010)).toEqual(bounds(42_000));
  });
  it("has a height where no interval has one, at any price", () => {
    for (const price of [1e-11, 0.0000123, 42_000, 3e13]) {
      const flat = corners(samplePath({ current_price: price, points: [samplePoint(5, { predicted_price: price, interval: { level: 0.9, low: price, high: price }, interval_50: { level: 0.5, low: price, high: price } })] }));
      const frame = frameOf(flat, [], MINUTE);
      expect(frame.high).toBeGreaterThan(frame.low);
      expect(yOf(frame, price)).toBeGreaterThanOrEqual(0);
      expect(yOf(frame, price)).toBeLessThanOrEqual(SIZE);
    }
  });
  it("names the prices of its lines with as many decimals as they need", () => {
    expect([200, 1, 0.5, 0.02, 1e-12].map((step) => gridPlaces({ step } as never))).toEqual([0, 0, 1, 2, 12]);
  });
  it("has a step of 1, 2 or 5", () => expect([0.9, 1, 4.9, 7, 10, 11, 0.00012].map((span) => niceStep(span, 5))).toEqual([0.2, 0.2, 1, 2, 2, 5, 0.00005]));
});

it("prices that come in from before the frame are cut at its edge", () => {
  const prices = [{ time: 0, price: 1 }, { time: 10, price: 2 }, { time: 20, price: 4 }];
  expect(since(prices, 15)).toEqual([{ time: 15, price: 3 }, { time: 20, price: 4 }]);
  expect(since(prices, 10)).toEqual(prices.slice(1));
  expect([since(prices, -5), since(prices, 25), since([], 5)]).toEqual([prices, [], []]);
});

describe("the drawing", () => {
  const points = corners(samplePath({ points: [samplePoint(30, { interval: { level: 0.9, low: 41_900, high: 42_100 }, interval_50: { level: 0.5, low: 41_950, high: 42_050 }, predicted_price: 42_020 })] }));
  const frame = { from: START - 30 * MINUTE, to: START + 30 * MINUTE, low: 41_900, high: 42_100, step: 50 };
  it("is an area from the last close along the upper edge and back along the lower one", () => {
    expect(area(frame, points, "low90", "high90")).toBe("M500 500L1000 0L1000 1000L500 500Z");
    expect(area(frame, points, "low50", "high50")).toBe("M500 500L1000 250L1000 750L500 500Z");
  });
  it("is a line through the medians and through the prices so far", () => {
    expect(line(frame, points.map(({ time, median }) => ({ time, price: median })))).toBe("M500 500L1000 400");
    expect(line(frame, [{ time: frame.from, price: 41_950 }, { time: START, price: 42_000 }])).toBe("M0 750L500 500");
    expect([line(frame, []), area(frame, [], "low90", "high90")]).toEqual(["", ""]);
  });
  it("moves to the left by a minute with the next path", () => {
    const at = (start: number) => { const fan = corners(samplePath({}, start)); return xOf(frameOf(fan, [], 30 * MINUTE), START + 10 * MINUTE); };
    expect(at(START) - at(START + MINUTE)).toBeCloseTo(SIZE / 90, 0);
  });
});
