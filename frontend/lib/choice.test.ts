import { expect, it } from "vitest";
import { chosenHour, isoHour, offeredHours, readChoice, writeChoice } from "./choice";

const HOUR = 3_600_000;
const NOON = Date.UTC(2024, 0, 31, 12);
const coin = (name: string) => ({ coin: name, source: "sim", champion: "lasso", champion_version: "1", models: [], data_until: null });

it("reads a choice from the address, and the first coin where there is none", () => {
  expect(readChoice(new URLSearchParams(""), [coin("BTC-USD"), coin("ETH-USD")])).toEqual({ coin: "BTC-USD", time: "now", model: "champion" });
  expect(readChoice(new URLSearchParams("coin=XYZ&time=5&model=cnn"), [])).toEqual({ coin: "XYZ", time: "5", model: "cnn" });
});

it("writes what it reads", () => {
  const choice = { coin: "ETH-USD", time: "2024-01-31T12:00:00Z", model: "lasso" };
  expect(writeChoice(choice)).toBe("?coin=ETH-USD&time=2024-01-31T12:00:00Z&model=lasso");
  expect(readChoice(new URLSearchParams(writeChoice(choice)), [])).toEqual(choice);
  const odd = { coin: "A&B=C", time: "now", model: "?#%" };
  expect(readChoice(new URLSearchParams(writeChoice(odd)), [])).toEqual(odd);
});

it("understands now, hours back and times, and nothing else", () => {
  expect(chosenHour("now", NOON)).toBeNull();
  expect(chosenHour("5", NOON + 1)).toBe(NOON - 5 * HOUR);
  expect(chosenHour("2024-01-31T12:59:00Z", 0)).toBe(NOON);
  expect(chosenHour("yesterday", NOON)).toBeNull();
  expect(isoHour(NOON + 59 * 60_000)).toBe("2024-01-31T12:00:00Z");
});

it("offers the last day hour by hour, two more days sparsely, and the chosen hour", () => {
  const hours = offeredHours(NOON, NOON - 100 * HOUR);
  expect(hours).toHaveLength(24 + 8 + 1);
  expect(hours[0]).toBe(NOON - HOUR);
  expect(hours.at(-1)).toBe(NOON - 100 * HOUR);
  expect(offeredHours(NOON, NOON - HOUR)).toHaveLength(32);
});
