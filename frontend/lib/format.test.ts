import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { age, clock, dayAndClock, formatDifference, formatNumber, formatPrice, money, moneyDifference, moneyWith, ownClock, percent, plural, priceDecimals, ratio, signed, signedBps, signedMoney } from "./format";

/** What Python's formatter is held to as well. It writes nothing for an unknown figure, and a hyphen for a minus. */
const CASES = JSON.parse(readFileSync(new URL("../../tests/number_cases.json", import.meta.url), "utf8")) as { function: string; arguments: (number | null)[]; expected: string | number; why?: string }[];

describe("figures are written as Python writes them", () => {
  const functions: Record<string, (...values: (number | null)[]) => string | number> = {
    price_decimals: priceDecimals, format_price: (value, ...beside) => formatPrice(value, ...beside), format_difference: (value, ...prices) => formatDifference(value, ...prices), format_number: (value) => formatNumber(value),
  };
  it("in every case there is", () => expect(CASES.length).toBeGreaterThan(100));
  it.each(CASES)("$function($arguments) is $expected", ({ function: name, arguments: values, expected }) => {
    const here = functions[name]!(...values);
    expect(here).toBe(expected === "" ? "–" : typeof expected === "string" ? expected.replace("-", "−") : expected);
  });
  it("never with an exponent, from 1e-11 to 3e13", () => {
    for (let size = 1e-11; size <= 3e13; size *= 7) for (const text of [formatPrice(size), formatDifference(size / 1e4, size), money(-size, "X-USD")]) {
      expect(text).toMatch(/^−?\$?[\d,]+(\.\d+)?$/);
      expect(text).toMatch(/[1-9]/);
    }
  });
});

describe("money", () => {
  it("has cents for large prices and more decimals for small ones", () => {
    expect(money(54531.456, "BTC-USD")).toBe("$54,531.46");
    expect(money(1.2345678, "ADA-USD")).toBe("$1.2346");
    expect(money(0.0000123, "SHIB-USD")).toBe("$0.000012300");
  });
  it("takes the decimals of a difference from the price, and a real minus", () => {
    expect(moneyDifference(-0.5, "BTC-USD", [54000])).toBe("−$0.50");
    expect(signedMoney(0.0021, "DOGE-USD", 0.21)).toBe("+$0.00210");
    expect(signedMoney(0, "BTC-USD", 54000)).toBe("$0.00");
    expect(moneyDifference(-0.0034, "BTC-USD", [54531.45])).toBe("−$0.00340");
  });
  it("tells an interval from its centre, and a move from none, at any price", () => {
    for (const price of [1e-11, 8.1e-8, 1.305e-5, 0.21, 1.0001, 9.9999, 140.2, 54531.45, 3e13]) for (const width of [1e-5, 1e-3, 0.2]) {
      const group = [price * (1 - width), price, price * (1 + width)];
      expect(new Set(group.map((one) => money(one, "X-USD", ...group))).size, `${price} ± ${width}`).toBe(3);
      expect(signedMoney(price * width, "X-USD", ...group)).toMatch(/^\+\$.*[1-9]/);
    }
  });
  it("groups digits as Intl does", () => {
    for (const value of [0, 1, 999.4, 1000, 99_999.987, 1_234_567.891, 1e9])
      expect(moneyWith(value, "BTC-USD", 2)).toBe(`$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`);
    expect(money(1234.56789, "X-USD", 1234.5)).toBe("$1,234.568");
  });
  it("names a currency that has no sign", () => expect(money(12, "ETH-CHF")).toBe("12.00 CHF"));
});

describe("numbers", () => {
  it("never shows a signed zero", () => {
    expect(signed(-0.04, 1)).toBe("0.0");
    expect(signed(-0.06, 1)).toBe("−0.1");
    expect(signed(2.34, 1)).toBe("+2.3");
  });
  it("never rounds a move to nothing", () => {
    expect(signedBps(-12.34)).toBe("−12.3");
    expect(signedBps(0.0421)).toBe("+0.0421");
    expect([0, 1e-13].map(signedBps)).toEqual(["0.0", "0.0"]);
  });
  it("shows a dash for what there is not", () => {
    expect(percent(null)).toBe("–");
    expect(ratio(undefined)).toBe("–");
    expect(percent(0.9042)).toBe("90.4 %");
    expect(ratio(0.99125)).toBe("0.991");
  });
});

describe("times", () => {
  it("are UTC whatever the reader's zone", () => {
    expect(clock("2024-01-31T15:00:00Z")).toBe("15:00");
    expect(clock("2024-01-31T00:00:00Z")).toBe("00:00");
    expect(dayAndClock(Date.UTC(2024, 0, 31, 15))).toBe("31 Jan, 15:00");
  });
  it("say the reader's clock only where it differs", () => {
    const zone = process.env.TZ;
    process.env.TZ = "UTC";
    expect(ownClock("2024-01-31T15:00:00Z")).toBeNull();
    process.env.TZ = "Asia/Tokyo";
    expect(ownClock("2024-01-31T15:00:00Z")).toBe("00:00");
    process.env.TZ = zone;
  });
  it("count in the coarsest unit that says something", () => {
    expect(age(-5)).toBe("less than a minute");
    expect(age(61_000)).toBe("1 minute");
    expect(age(119 * 60_000)).toBe("119 minutes");
    expect(age(47 * 3_600_000)).toBe("47 hours");
    expect(age(72 * 3_600_000)).toBe("3 days");
    expect(plural(1200, "hour")).toBe("1,200 hours");
  });
});
