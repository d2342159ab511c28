import { expect, it } from "vitest";
import { chosenHour, horizonQuery, isoHour, offeredHours, readChoice, writeChoice } from "./choice";

const HOUR = 3_600_000;
const NOON = Date.UTC(2024, 0, 31, 12);
const coin = (name: string, horizons = [5, 15, 30, 60]) => ({ coin: name, source: "sim", champion: "lasso", champion_version: "1", models: [], horizons, data_until: null });

it("reads a choice from the address, and the first coin where there is none", () => {
  expect(readChoice(new URLSearchParams(""), [coin("BTC-USD"), coin("ETH-USD")])).toEqual({ coin: "BTC-USD", time: "now", model: "champion", horizon: 60 });
  expect(readChoice(new URLSearchParams("coin=XYZ&time=5&model=cnn"), [])).toEqual({ coin: "XYZ", time: "5", model: "cnn", horizon: 60 });
});

it("writes what it reads", () => {
  const choice = { coin: "ETH-USD", time: "2024-01-31T12:00:00Z", model: "lasso", horizon: 60 };
  expect(writeChoice(choice)).toBe("?coin=ETH-USD&time=2024-01-31T12:00:00Z&model=lasso");
  expect(readChoice(new URLSearchParams(writeChoice(choice)), [])).toEqual(choice);
  const odd = { coin: "A&B=C", time: "now", model: "?#%", horizon: 60 };
  expect(readChoice(new URLSearchParams(writeChoice(odd)), [])).toEqual(odd);
});

it("keeps a horizon that the coin has, and takes the hour for any other", () => {
  const read = (words: string, coins = [coin("BTC-USD"), coin("XRP-USD", [60])]) => readChoice(new URLSearchParams(words), coins).horizon;
  expect(["horizon=15", "coin=BTC-USD&horizon=5", "horizon=60", "horizon=7", "horizon=x", "horizon=", "coin=XRP-USD&horizon=15", "coin=ABC&horizon=15"].map((words) => read(words))).toEqual([15, 5, 60, 60, 60, 60, 60, 60]);
  const { horizons: _, ...old } = coin("BTC-USD");
  expect(read("horizon=15", [old as never])).toBe(60); // a service that names no horizons
  const choice = { coin: "BTC-USD", time: "now", model: "champion", horizon: 15 };
  expect(writeChoice(choice)).toBe("?coin=BTC-USD&time=now&model=champion&horizon=15");
  expect(readChoice(new URLSearchParams(writeChoice(choice)), [coin("BTC-USD")])).toEqual(choice);
  expect([horizonQuery(60), horizonQuery(15)]).toEqual([{}, { horizon: "15" }]);
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
