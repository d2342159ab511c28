import { describe, expect, it } from "vitest";
import { age, clock, dayAndClock, decimals, money, ownClock, percent, plural, ratio, signed, signedMoney } from "./format";

describe("money", () => {
  it("has cents for large prices and more decimals for small ones", () => {
    expect(money(54531.456, "BTC-USD")).toBe("$54,531.46");
    expect(money(1.2345678, "ADA-USD")).toBe("$1.235");
    expect(money(0.0000123, "SHIB-USD")).toBe("$0.00001230");
    expect(decimals(0)).toBe(2);
  });
  it("takes the decimals of a difference from the price, and a real minus", () => {
    expect(money(-0.5, "BTC-USD", 54000)).toBe("−$0.50");
    expect(signedMoney(0.0021, "DOGE-USD", 0.21)).toBe("+$0.0021");
    expect(signedMoney(0, "BTC-USD", 54000)).toBe("$0.00");
  });
  it("groups digits as Intl does", () => {
    for (const value of [0, 1, 999.4, 1000, 99_999.987, 1_234_567.891, 1e9])
      expect(money(value, "BTC-USD", 100)).toBe(`$${value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })}`);
    expect(money(1234.56789, "X-USD", 0.5)).toBe("$1,234.5679");
  });
  it("names a currency that has no sign", () => expect(money(12, "ETH-CHF")).toBe("12.00 CHF"));
});

describe("numbers", () => {
  it("never shows a signed zero", () => {
    expect(signed(-0.04, 1)).toBe("0.0");
    expect(signed(-0.06, 1)).toBe("−0.1");
    expect(signed(2.34, 1)).toBe("+2.3");
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
