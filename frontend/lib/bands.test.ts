import type { PaneRendererCustomData, UTCTimestamp } from "lightweight-charts";
import { expect, it } from "vitest";
import { bandAt, BandSeries, runs, type Band, type BandOptions } from "./bands";

const HOUR = 3600;
type Point = [x: number, y: number];

/** Bands as lightweight-charts 5 hands them to a custom series: `time` is gone from the data, and the bar's own is its place in the order of times. */
function handedOver(bands: readonly Band[], from: number): PaneRendererCustomData<UTCTimestamp, Band> {
  const bars = bands.map(({ time: _, color: __, ...rest }, index) => ({ x: index < from ? NaN : 10 * (index - from), time: index, originalData: rest as Band, barColor: "" }));
  return { bars, barSpacing: 10, visibleRange: { from, to: bars.length }, conflationFactor: 1 } as PaneRendererCustomData<UTCTimestamp, Band>;
}

/** What is filled when such bands are drawn, two pixels to a point: colour and corners. A price of p lies p below the top. */
function filled(bands: readonly Band[], from = 0, apart = HOUR): { colour: string; corners: Point[] }[] {
  const found: { colour: string; corners: Point[] }[] = [];
  let corners: Point[] = [];
  const context = {
    fillStyle: "",
    beginPath: () => void (corners = []),
    lineTo: (x: number, y: number) => void corners.push([x, y]),
    closePath: () => {},
    fill: () => void found.push({ colour: context.fillStyle, corners }),
  };
  const target = { useBitmapCoordinateSpace: (draw: (scope: object) => void) => draw({ context, horizontalPixelRatio: 2, verticalPixelRatio: 2 }) };
  const series = new BandSeries({ outer: "outer", inner: "inner", apart } as BandOptions);
  series.update(handedOver(bands, from), series.defaultOptions());
  series.renderer().draw(target as never, ((price: number) => price) as never, false);
  return found;
}

const band = (hour: number) => bandAt((hour * HOUR) as UTCTimestamp, 10, 20, 30, 40);

it("an unbroken stretch is one area per interval, from its low to its high", () => {
  const corners = (low: number, high: number): Point[] => [[0, high], [20, high], [40, high], [40, low], [20, low], [0, low]];
  expect(filled([1, 2, 3].map(band))).toEqual([{ colour: "outer", corners: corners(20, 80) }, { colour: "inner", corners: corners(40, 60) }]);
});

it("reaches beyond the edge of what is in sight, where the library gives no place", () => {
  expect(filled([1, 2, 3, 4].map(band), 2)[0]).toEqual({ colour: "outer", corners: [[-20, 80], [0, 80], [20, 80], [20, 20], [0, 20], [-20, 20]] });
  expect(filled([1, 2].map(band), 2)).toEqual([]); // all of it out of sight
});

it("an hour without a forecast cuts it, though the library counts on", () => {
  expect(filled([1, 2, 5, 6, 7].map(band)).map(({ colour, corners }) => [colour, corners.length])).toEqual([["outer", 4], ["outer", 6], ["inner", 4], ["inner", 6]]);
  expect(filled([])).toEqual([]);
});

it("quarters of an hour are cut where one of them is missing", () => {
  const quarters = [0, 0.25, 0.5, 1, 1.25].map(band);
  expect(filled(quarters, 0, HOUR / 4).map(({ corners }) => corners.length)).toEqual([6, 4, 6, 4]);
});

it("a band is cut where an hour is missing", () => {
  const hours = (...numbers: number[]) => numbers.map((number) => number * HOUR);
  const cut = (times: number[]) => runs(times, (time) => time).map((run) => run.length);
  expect(cut(hours(1, 2, 3))).toEqual([3]);
  expect(cut(hours(1, 2, 5, 6, 9))).toEqual([2, 2, 1]);
  expect(cut([])).toEqual([]);
});
