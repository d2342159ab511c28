import { afterEach, describe, expect, it, vi } from "vitest";
import { address, ask, AwayError, ProblemError } from "./api";
import { isFinal, pause } from "./live";

const never = new AbortController().signal;
const answering = (make: () => Promise<Response>) => vi.stubGlobal("fetch", make);
afterEach(() => vi.unstubAllGlobals());

it("writes addresses of the place the page came from", () => {
  expect(address("/api/coins")).toBe("/api/coins");
  expect(address("/api/predict", { coin: "BTC-USD", time_from: "2024-01-31T12:00:00Z" })).toBe("/api/predict?coin=BTC-USD&time_from=2024-01-31T12%3A00%3A00Z");
});

describe("asking", () => {
  it("gives what the service answers", async () => {
    answering(async () => Response.json({ coins: [] }));
    expect(await ask("/api/coins", {}, never)).toEqual({ coins: [] });
  });
  it("passes a problem on in the service's words, with the time to wait", async () => {
    answering(async () => Response.json({ type: "x", title: "Unknown coin", status: 404, detail: "no XYZ" }, { status: 404, headers: { "retry-after": "7" } }));
    const error = await ask("/api/predict", {}, never).catch((one: unknown) => one);
    expect(error).toBeInstanceOf(ProblemError);
    expect(error).toMatchObject({ status: 404, title: "Unknown coin", message: "no XYZ", retryAfter: 7 });
  });
  it("takes a dead line and a stranger's page for a service that is away", async () => {
    answering(async () => Promise.reject(new TypeError("Failed to fetch")));
    await expect(ask("/api/coins", {}, never)).rejects.toBeInstanceOf(AwayError);
    answering(async () => new Response("<h1>Bad gateway</h1>", { status: 502 }));
    await expect(ask("/api/coins", {}, never)).rejects.toBeInstanceOf(AwayError);
    answering(async () => new Response("<h1>Log in to the train</h1>"));
    await expect(ask("/api/coins", {}, never)).rejects.toBeInstanceOf(AwayError);
  });
});

describe("asking again", () => {
  const problem = (status: number, retryAfter: number | null = null) => new ProblemError(status, "", "", retryAfter);
  it("waits as long as it was told, within reason", () => {
    expect(pause(problem(503, 5), 1)).toBe(5000);
    expect(pause(problem(429, 9999), 1)).toBe(60_000);
    expect(pause(problem(503, 0), 1)).toBe(2000);
  });
  it("gives up on questions that are wrong, and on no others", () => {
    expect(pause(problem(404), 1)).toBeNull();
    expect(pause(problem(422), 1)).toBeNull();
    expect(pause(problem(500), 1)).toBe(30_000);
  });
  it("comes back to a lost server, slower each time", () => {
    expect([1, 2, 3, 4, 9].map((failures) => pause(new AwayError(), failures))).toEqual([2000, 4000, 8000, 15_000, 15_000]);
  });
  it("knows a forecast that will not change", () => {
    expect(isFinal({ actual_price: 1 } as never)).toBe(true);
    expect(isFinal({ actual_price: null } as never)).toBe(false);
  });
});
