import { expect, it } from "vitest";
import { runs } from "./bands";

it("a band is cut where an hour is missing", () => {
  const hours = (...numbers: number[]) => numbers.map((number) => number * 3600);
  const cut = (times: number[]) => runs(times, (time) => time).map((run) => run.length);
  expect(cut(hours(1, 2, 3))).toEqual([3]);
  expect(cut(hours(1, 2, 5, 6, 9))).toEqual([2, 2, 1]);
  expect(cut([])).toEqual([]);
});
