// The built page against the real service, over a replay exchange whose clock the test moves. `npm run build` comes first.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import axe from "axe-core";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Path } from "../lib/api";
import { pathWords } from "../lib/path-words";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const SHOTS = here("screenshots/");
const LONG = 30_000; // a busy machine takes its time

let service: ChildProcess, lines: Interface, site: Wire, browser: Browser;
let complaints: string[] = [];

interface Wire {
  url: string;
  cut(): Promise<void>;
  mend(): Promise<void>;
}

/** A wire to the service, which browsers take, and which can be cut. */
async function wire(service: URL): Promise<Wire> {
  const ends = new Set<Socket>();
  const server = createServer((one) => {
    const other = connect(Number(service.port), service.hostname);
    for (const [from, to] of [[one, other], [other, one]] as const) {
      ends.add(from);
      from.on("error", () => to.destroy()).on("close", () => (ends.delete(from), to.destroy()));
      from.pipe(to);
    }
  });
  const listen = (port: number) => new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  const cut = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve());
      for (const end of ends) end.destroy();
    });
  return { url: `http://127.0.0.1:${port}`, cut, mend: () => listen(port) };
}

async function nextLine(): Promise<string> {
  return new Promise((resolve, reject) => {
    lines.once("line", resolve);
    service.once("exit", (code) => reject(new Error(`the service ended (${code})`)));
  });
}

async function tell(command: "hour" | "minute" | "away" | "later" | "back" | "rollback"): Promise<void> {
  const done = nextLine();
  service.stdin!.write(`${command}\n`);
  expect(await done).toBe("done");
}

/** A page of its own; whatever the browser complains about (scripts refused by the policy, errors) fails the test. */
async function open(path: string, options: BrowserContextOptions = {}, quiet = false): Promise<Page> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(LONG);
  if (!quiet) page.on("console", (message) => void (message.type() === "error" && complaints.push(message.text())));
  page.on("pageerror", (error) => void complaints.push(String(error)));
  page.on("request", (request) => void (request.url().startsWith(site.url) || complaints.push(`asks elsewhere: ${request.url()}`)));
  await page.goto(site.url + path);
  return page;
}

const answer = (page: Page) => page.locator(".answer .price data");
const text = (page: Page, words: string | RegExp) => page.getByText(words).first().waitFor();

/** The chart is fetched when it is about to be seen. */
const toChart = async (page: Page) => {
  await answer(page).waitFor();
  await page.locator(".record").scrollIntoViewIfNeeded();
  await page.locator(".chart canvas").first().waitFor();
};

type Letter = "o" | "i" | "O" | "I" | ".";
interface Forecast {
  predicted_for: string;
  current_price: number;
  interval: { low: number; high: number };
  interval_50: { low: number; high: number };
}

/** The chart's drawing, row by row: `o` and `i` where the outer and the inner interval of the coming hour are, `O` and `I` those of the past. */
const drawn = (page: Page): Promise<string[]> =>
  page.evaluate(() => {
    const style = getComputedStyle(document.documentElement);
    const names = { "--band-outer": "o", "--band-inner": "i", "--band-past-outer": "O", "--band-past-inner": "I" };
    const letters = new Map(Object.entries(names).map(([name, letter]) => [parseInt(style.getPropertyValue(name).trim().slice(1), 16), letter]));
    const canvases = [...document.querySelectorAll<HTMLCanvasElement>(".chart canvas")];
    const pane = canvases.reduce((one, other) => (other.width * other.height > one.width * one.height ? other : one)); // of equal ones the lowest
    const { data, width, height } = pane.getContext("2d")!.getImageData(0, 0, pane.width, pane.height);
    const letter = (at: number) => (data[at + 3] === 255 ? letters.get((data[at]! << 16) | (data[at + 1]! << 8) | data[at + 2]!) ?? "." : ".");
    return Array.from({ length: height }, (_, y) => Array.from({ length: width }, (_, x) => letter(4 * (y * width + x))).join(""));
  });

/** Where any hour and any price lies on the chart, from the fan of the coming hour and the first of `hours` hours before. */
function scaleOf(rows: string[], newest: Forecast, hours: number) {
  const columns = Array.from({ length: rows[0]!.length }, (_, x) => rows.flatMap((row, y) => ("oi".includes(row[x]!) ? [y] : [])));
  const right = columns.findLastIndex((column) => column.length > 0);
  expect(right, "the fan is drawn").toBeGreaterThan(0);
  const middle = right - Math.round((right - columns.findIndex((column) => column.length > 0)) / 2);
  const edge = (at: (column: number[]) => number) => {
    const [one, other] = [at(columns[middle]!), at(columns[right]!)];
    return (x: number) => other + ((x - right) * (other - one)) / (right - middle);
  };
  const top = edge((column) => column[0]!), bottom = edge((column) => column.at(-1)! + 1);
  const tall = bottom(right) - top(right), start = right - (tall * (right - middle)) / (tall - bottom(middle) + top(middle)); // where it has no height
  const first = Math.min(...rows.map((row) => row.indexOf("O")).filter((x) => x >= 0));
  const hour = (start - first) / (hours - 1), end = start + hour, { low, high } = newest.interval;
  return {
    hour,
    x: (time: string) => end + ((Date.parse(time) - Date.parse(newest.predicted_for)) / 3_600_000) * hour,
    y: (price: number) => top(end) + ((high - price) / (high - low)) * (bottom(end) - top(end)),
  };
}

type Corners = Record<"high90" | "high50" | "low50" | "low90", number>;
const corners = ({ interval, interval_50: half }: Forecast): Corners => ({ high90: interval.high, high50: half.high, low50: half.low, low90: interval.low });
const point = (price: number): Corners => ({ high90: price, high50: price, low50: price, low90: price });

/** Each interval is drawn from its low to its high and not beyond: two columns before its hour, since the last area ends there. */
function expectBand(rows: string[], scale: ReturnType<typeof scaleOf>, before: Corners, one: Forecast, [outer, inner]: readonly [Letter, Letter]): void {
  const column = rows.map((row) => row[Math.round(scale.x(one.predicted_for)) - 2]!);
  const y = (edge: keyof Corners) => scale.y(corners(one)[edge] + (2 / scale.hour) * (before[edge] - corners(one)[edge]));
  const share = (from: number, to: number, letter: Letter) => {
    const part = column.slice(Math.ceil(from) + 3, Math.floor(to) - 2);
    return part.filter((seen) => seen === letter).length / part.length; // of the rest, the line of prices and the forecast's dot lie over it
  };
  expect(share(y("high50"), y("low50"), inner), `half of the prices, ${one.predicted_for}`).toBeGreaterThan(0.5);
  expect(share(y("high90"), y("high50"), outer), `above that half, ${one.predicted_for}`).toBeGreaterThan(0.5);
  expect(share(y("low50"), y("low90"), outer), `below that half, ${one.predicted_for}`).toBeGreaterThan(0.5);
  const beyond = [...column.slice(0, Math.floor(y("high90")) - 3), ...column.slice(Math.ceil(y("low90")) + 4)];
  expect(beyond.filter((seen) => seen === outer || seen === inner), `beyond, ${one.predicted_for}`).toEqual([]);
}

const forecast = async (coin: string, back: number | "now"): Promise<Forecast> =>
  ((await (await fetch(`${site.url}/api/predict?coin=${coin}&time_from=${back}`)).json()) as { prediction: Forecast }).prediction;

/** Change the service's JSON on its way to the page. */
const changing = (page: Page, change: (key: string, value: unknown) => unknown) =>
  page.route(/\/api\/(predict|history|accuracy)\?/, async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: JSON.stringify(JSON.parse(await answer.text()), change) });
  });

/** What axe finds against WCAG 2.2 AA and its own best practices. Its script goes in past the policy, as a debugger's would. */
async function violations(page: Page): Promise<string[]> {
  const client = await page.context().newCDPSession(page);
  await client.send("Runtime.evaluate", { expression: axe.source });
  const { result } = await client.send("Runtime.evaluate", { expression: "axe.run(document).then((found) => JSON.stringify(found.violations.map((one) => one.id + ': ' + one.nodes.map((node) => node.html).join(' | '))))", awaitPromise: true, returnByValue: true });
  return JSON.parse(result.value as string) as string[];
}

beforeAll(async () => {
  expect(existsSync(here("../out/index.html")), "npm run build comes first").toBe(true);
  mkdirSync(SHOTS, { recursive: true });
  const python = process.env.PYTHON ?? here("../../.venv/bin/python");
  service = spawn(python, [here("service.py")], { cwd: here("../.."), stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, OMP_NUM_THREADS: "1" } });
  lines = createInterface({ input: service.stdout! });
  site = await wire(new URL(await nextLine()));
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
});

afterEach(async () => {
  for (const context of browser.contexts()) await context.close();
  const heard = complaints;
  complaints = [];
  expect(heard).toEqual([]);
});

afterAll(async () => {
  await browser?.close();
  await site?.cut();
  service?.stdin!.end();
});

describe("the forecast", () => {
  it("is there at once, with its interval, its age, its version and where its prices come from", async () => {
    const page = await open("/");
    await answer(page).waitFor();
    const { prediction } = (await (await fetch(`${site.url}/api/predict?coin=BTC-USD`)).json()) as { prediction: { predicted_price: number; interval: { low: number } } };
    expect(Number(await answer(page).getAttribute("value"))).toBeCloseTo(prediction.predicted_price, 6);
    await text(page, "Bitcoin at 16:00 UTC");
    await text(page, /Simulated market\./);
    await text(page, "Lasso, version 1");
    await text(page, "31 Jan, 15:00 UTC, 20 minutes ago");
    await text(page, prediction.interval.low.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 }));
  });

  it("follows the reader's choice, and the address holds it", async () => {
    const page = await open("/");
    await answer(page).waitFor();
    await page.getByRole("combobox", { name: "Coin" }).selectOption("ETH-USD");
    await text(page, /^Ethereum at 16:00/);
    await page.getByRole("combobox", { name: "Model" }).selectOption("persistence");
    await text(page, "No change, version builtin");
    await page.getByLabel("One hour earlier").click();
    await text(page, /^Ethereum at 15:00/);
    await text(page, "What came");
    const address = page.url();
    expect(new URL(address).search).toBe("?coin=ETH-USD&time=2024-01-31T14:00:00Z&model=persistence");
    const price = await answer(page).getAttribute("value");
    // The same words for whoever it is sent to, and the way back for who went there.
    const other = await open(new URL(address).pathname + new URL(address).search);
    await text(other, "What came");
    expect(await answer(other).getAttribute("value")).toBe(price);
    await page.goBack();
    await text(page, /^Ethereum at 16:00/);
  });

  it("understands hours back", async () => {
    const page = await open("/?coin=BTC-USD&time=5&model=lasso");
    await text(page, "Bitcoin at 11:00 UTC");
  });

  it("can be chosen without a mouse", async () => {
    const page = await open("/");
    await answer(page).waitFor();
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter"); // the skip link
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.tagName)).toBe("SELECT");
    await page.keyboard.type("Eth");
    await page.keyboard.press("Enter");
    await text(page, /^Ethereum at 16:00/);
  });

  it("says which coins there are when asked for another", async () => {
    const page = await open("/?coin=DOGE-XYZ", {}, true);
    await text(page, "Unknown coin");
    await page.getByRole("link", { name: "Ethereum" }).click();
    await answer(page).waitFor();
    expect(await violations(page)).toEqual([]);
  });

  it("says what is wrong with a time", async () => {
    const page = await open("/?coin=BTC-USD&time=yesterday", {}, true);
    await text(page, "Parameter not allowed");
    await page.getByRole("link", { name: "Ask from now instead" }).click();
    await answer(page).waitFor();
  });
});

describe("the hours before", () => {
  it("are drawn, judged, and listed", async () => {
    const page = await open("/?coin=BTC-USD");
    await toChart(page);
    await text(page, /Of the last 24 prices here/);
    await page.getByText("The same as a table").click();
    expect(await page.locator(".history tbody tr").count()).toBe(25);
    expect(await page.locator(".chart canvas").count()).toBeGreaterThan(0);
    await page.getByLabel("7 days").check();
    await text(page, /Of the last 35 prices here/);
    await page.waitForFunction(() => !document.body.textContent!.includes("Earlier hours are being asked for"));
    await page.screenshot({ path: `${SHOTS}week.png`, fullPage: true });
  });
});

describe("the intervals in the chart", () => {
  const ready = async (page: Page) => {
    await toChart(page);
    await text(page, /Of the last 25 prices here/);
    await page.waitForFunction(() => !document.body.textContent!.includes("Earlier hours are being asked for"));
  };
  /** The drawing, once the fan has the colours of the page's theme and nothing moves any more. */
  const painted = async (page: Page): Promise<string[]> => {
    let before = "";
    for (const end = Date.now() + LONG; ; await page.waitForTimeout(200)) {
      const rows = await drawn(page), now = rows.join("\n");
      if ((now.includes("i") && now === before) || Date.now() > end) return rows;
      before = now;
    }
  };

  for (const [name, options] of Object.entries({ desktop: {}, phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true } } satisfies Record<string, BrowserContextOptions>)) {
    it(`lie between their low and their high, in both themes, on ${name}`, async () => {
      const page = await open("/?coin=BTC-USD&time=2&model=lasso", options); // a past hour: nothing moves
      await ready(page);
      const newest = await forecast("BTC-USD", 2), before = await Promise.all(Array.from({ length: 20 }, (_, index) => forecast("BTC-USD", index + 3)));
      for (const colorScheme of ["dark", "light"] as const) {
        await page.emulateMedia({ colorScheme });
        const rows = await painted(page), scale = scaleOf(rows, newest, 24);
        await page.locator(".chart").screenshot({ path: `${SHOTS}chart-${name}-${colorScheme}.png` });
        expectBand(rows, scale, point(newest.current_price), newest, ["o", "i"]);
        before.slice(0, -1).forEach((one, index) => expectBand(rows, scale, corners(before[index + 1]!), one, ["O", "I"]));
      }
    });
  }

  it("are not drawn across hours for which there was no forecast", async () => {
    const page = await open("/?coin=ETH-USD&time=2");
    await ready(page);
    await page.getByLabel("3 days").check();
    await text(page, /Of the last \d\d prices here/);
    await page.waitForFunction(() => !document.body.textContent!.includes("Earlier hours are being asked for"));
    const rows = await painted(page), newest = await forecast("ETH-USD", 2), scale = scaleOf(rows, newest, 72);
    const shades = (hours: number) => rows.filter((row) => /[OI]/.test(row[Math.round(scale.x(newest.predicted_for) - hours * scale.hour)]!)).length;
    // The record ends at 15:00, this forecast is for 14:00; in the four hours from 43 to 40 before the end nothing was said.
    expect(Math.min(...[36, 37, 44, 45].map(shades))).toBeGreaterThan(10);
    expect([38.5, 39, 40, 41, 42, 42.5].map(shades)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("vanish where an interval has no width", async () => {
    const page = await open("/");
    await changing(page, (key, value) => (key === "interval" || key === "interval_50" ? { ...(value as object), low: 42_000, high: 42_000 } : value));
    await page.goto(`${site.url}/?coin=BTC-USD&time=2&model=lasso`);
    await ready(page);
    expect((await drawn(page)).filter((row) => /[oiOI]/.test(row))).toEqual([]);
  });
});

describe("prices of any size", () => {
  for (const [name, factor] of Object.entries({ tiny: 1e-15, small: 2e-12, one: 2.4e-5, huge: 7e8 })) {
    it(`${name}: an interval's ends differ from each other and from its centre, and no move is shown as none`, async () => {
      const page = await open("/how/");
      const prices = new Set(["current_price", "predicted_price", "difference", "low", "high", "close", "actual_price", "mae", "mae_persistence"]);
      await changing(page, (key, value) => (prices.has(key) && typeof value === "number" ? value * factor : value));
      await page.goto(`${site.url}/?coin=BTC-USD&time=2&model=lasso`);
      await toChart(page);
      await text(page, /Of the last 25 prices here/);
      await page.getByText("The same as a table").click();
      const centre = await answer(page).textContent();
      const ranges = (await page.locator(".ranges dd").allTextContents()).map((words) => words.split(" to "));
      const cells = await page.locator(".history tbody tr").evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("td")].slice(0, 3).map((cell) => cell.textContent!)));
      const groups = [...ranges.filter((range) => range.length === 2).map((range) => [centre!, ...range]), ...cells.map(([middle, range]) => [middle!, ...range!.split(" to ")])];
      expect(groups.length).toBe(27);
      for (const group of groups) {
        expect(new Set(group).size, group.join(", ")).toBe(3);
        for (const price of group) expect(price).toMatch(/^\$[\d,]+(\.\d+)?$/);
        for (const price of group) expect(price).toMatch(/[1-9]/);
      }
      expect(await page.locator(".difference strong").first().textContent()).toMatch(/^[+−]\$.*[1-9]/);
      await page.screenshot({ path: `${SHOTS}price-${name}.png`, fullPage: true });
      await page.setViewportSize({ width: 320, height: 640 });
      expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(0);
      await page.screenshot({ path: `${SHOTS}price-${name}-phone.png` });
    });
  }
});

/** The path of a coin, as the service answers it. */
const pathOf = async (coin: string): Promise<Path> => ((await (await fetch(`${site.url}/api/path?coin=${coin}`)).json()) as { path: Path }).path;

/** Which prices the two areas of the fan cover at each horizon, by its axis: `[low, high]`, to a hundredth of the distance of two lines of the grid. */
const covered = (page: Page, horizons: number[]): Promise<Record<"outer" | "inner", [low: number, high: number][]>> =>
  page.evaluate((horizons) => {
    const share = (node: Element, name: string) => Number.parseFloat(node.getAttribute(name)!) / 100;
    const axis = [...document.querySelectorAll(".fan .axis > text")].map((node) => [Number(node.textContent!.replace(/[$,]/g, "")), share(node, "y")] as const);
    const [bottom, top] = [axis[0]!, axis.at(-1)!];
    const places = new Map([...document.querySelectorAll(".fan .times text[y='14']")].map((node) => [Number.parseInt(node.textContent!), share(node, "x")]));
    const plot = document.querySelector<SVGSVGElement>(".fan .plot")!, step = (top[0] - bottom[0]) / (axis.length - 1) / 100;
    const within = (area: SVGGeometryElement, horizon: number): [number, number] => {
      const inside: number[] = [];
      for (let price = bottom[0]; price <= top[0]; price += step) {
        // A shade before the horizon, because the last area ends there.
        const point = Object.assign(plot.createSVGPoint(), { x: 1000 * places.get(horizon)! - 0.2, y: 1000 * (bottom[1] + ((price - bottom[0]) / (top[0] - bottom[0])) * (top[1] - bottom[1])) });
        if (area.isPointInFill(point)) inside.push(price);
      }
      return [inside[0]!, inside.at(-1)!];
    };
    const all = (name: string) => horizons.map((horizon) => within(document.querySelector<SVGGeometryElement>(`.fan .${name}`)!, horizon));
    return { outer: all("outer"), inner: all("inner") };
  }, horizons);

describe("the next hour", () => {
  const shown = async (page: Page) => {
    await page.locator(".ahead .fan").waitFor();
    await page.locator(".ahead").scrollIntoViewIfNeeded();
  };

  for (const [name, options] of Object.entries({ desktop: { viewport: { width: 1440, height: 900 } }, phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true } } satisfies Record<string, BrowserContextOptions>)) {
    it(`is a fan between the intervals of each horizon, in both themes, on ${name}`, async () => {
      const page = await open("/?coin=ETH-USD", options);
      await shown(page);
      const path = await pathOf("ETH-USD"), horizons = path.points.map((one) => one.horizon_minutes);
      expect(horizons).toEqual([5, 15, 30, 60]);
      const found = await covered(page, horizons);
      path.points.forEach(({ interval, interval_50: half }, index) => {
        for (const [area, wanted] of [["outer", interval], ["inner", half]] as const) {
          const tolerance = 0.02 * (wanted.high - wanted.low);
          expect(Math.abs(found[area][index]![0] - wanted.low), `low of ${area}, ${horizons[index]} minutes`).toBeLessThan(tolerance);
          expect(Math.abs(found[area][index]![1] - wanted.high), `high of ${area}, ${horizons[index]} minutes`).toBeLessThan(tolerance);
        }
      });
      expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(0);
      await page.getByText("The next minutes as a table").click();
      expect(await page.locator(".ahead tbody tr").count()).toBe(4);
      expect(await violations(page)).toEqual([]);
      for (const colorScheme of ["dark", "light"] as const) {
        await page.emulateMedia({ colorScheme });
        await page.locator(".ahead").screenshot({ path: `${SHOTS}fan-${name}-${colorScheme}.png` });
      }
    });
  }

  it("is said in words: width, move and odds where a model forecasts them, and that there is no direction where none does", async () => {
    const page = await open("/?coin=ETH-USD");
    await shown(page);
    const words = async (coin: string) => pathWords(await pathOf(coin)).join(" ");
    const plain = async () => (await page.locator(".expected").first().textContent())!.replaceAll("\u00a0", " ");
    expect(await plain()).toBe(await words("ETH-USD"));
    expect(await plain()).toMatch(/^Expected to stay within [\d.]+ % in 15 minutes nine times in ten; .* Within [\d.]+ % in 60 minutes; no direction is forecast at this horizon\.$/);
    await text(page, "No model of 5, 30 minutes is in use");
    await page.getByRole("combobox", { name: "Coin" }).selectOption("BTC-USD");
    await text(page, /nine times in ten each; no direction is forecast at either horizon\./);
    expect(await plain()).toBe(await words("BTC-USD"));
    await page.getByLabel("One hour earlier").click(); // a past hour has no path from now
    await text(page, "What came");
    expect(await page.locator(".ahead").count()).toBe(0);
  });

  it("moves by a minute with the market, in place", async () => {
    const page = await open("/?coin=ETH-USD");
    await shown(page);
    await toChart(page);
    await page.getByText(/The chart follows the market by itself/).waitFor(); // the stream is open
    const before = await pathOf("ETH-USD");
    await page.evaluate(() => {
      const plot = document.querySelector(".fan .plot")!;
      const seen = { plot, nodes: [...plot.children], drawn: plot.innerHTML, changes: 0 };
      new MutationObserver((records) => (seen.changes += records.length)).observe(document.querySelector(".ahead .fan")!, { childList: true, subtree: true });
      Object.assign(window, { seen });
    });
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    await tell("minute");
    const after = await pathOf("ETH-USD"), clock = (path: Path) => path.data_until.slice(11, 16);
    expect(Date.parse(after.data_until) - Date.parse(before.data_until)).toBe(60_000);
    await text(page, `The next 60 minutes, from ${clock(after)} UTC`);
    const { same, moved, changes } = await page.evaluate(() => {
      const { seen } = window as unknown as { seen: { plot: Element; nodes: Element[]; drawn: string; changes: number } };
      const plot = document.querySelector(".fan .plot")!;
      return { same: plot === seen.plot && seen.nodes.every((node, index) => node === plot.children[index]), moved: plot.innerHTML !== seen.drawn, changes: seen.changes };
    });
    expect([same, moved]).toEqual([true, true]);
    expect(changes, "nothing of the drawing was taken away and put back").toBe(0);
    expect(asked.filter((url) => url.includes("/api/path")), "the stream brings it").toEqual([]);
    await text(page, `From the close of the minute at ${clock(after)} UTC`);
  });

  it("is not there where the service has no forecasts inside the hour: the page asks for no path", async () => {
    const page = await open("/how/");
    const asked: string[] = [];
    page.on("request", (request) => asked.push(request.url()));
    await page.route("**/api/coins", async (route) => {
      const answer = await route.fetch();
      await route.fulfill({ response: answer, body: JSON.stringify(JSON.parse(await answer.text()), (key, value: unknown) => (key === "horizons" ? undefined : value)) }); // as of an older service
    });
    await page.goto(`${site.url}/?coin=BTC-USD&horizon=15`);
    await toChart(page);
    await text(page, /Of the last 24 prices here/);
    expect([await page.locator(".ahead").count(), await page.locator(".horizons").count()]).toEqual([0, 0]);
    expect(asked.filter((url) => /\/api\/path|horizon=/.test(new URL(url).pathname.startsWith("/api/") ? url : ""))).toEqual([]);
  });

  it("says why there is none yet, and vanishes where there will be none", async () => {
    const page = await open("/how/", {}, true);
    const refuse = (status: number, detail: string) =>
      page.route("**/api/path?*", (route) => route.fulfill({ status, contentType: "application/problem+json", body: JSON.stringify({ type: "about:blank", title: "No", status, detail }) }));
    await page.route("**/api/stream?*", (route) => route.abort());
    await refuse(409, "one-minute candles: 61 of 193 hours");
    await page.goto(`${site.url}/?coin=BTC-USD`);
    await text(page, "One-minute candles: 61 of 193 hours.");
    await refuse(422, "BTC-USD has no path");
    await page.reload();
    await toChart(page);
    await page.locator(".ahead").waitFor({ state: "detached" });
  });
});

describe("the record inside the hour", () => {
  it("is chosen by its horizon, which the address holds", async () => {
    const page = await open("/?coin=ETH-USD");
    await toChart(page);
    await page.getByRole("radio", { name: "15 minutes" }).check();
    await text(page, "The last forecasts for 15 minutes ahead");
    expect(new URL(page.url()).search).toBe("?coin=ETH-USD&time=now&model=champion&horizon=15");
    const { accuracy } = (await (await fetch(`${site.url}/api/accuracy?coin=ETH-USD&horizon=15`)).json()) as { accuracy: { n: number; mase: number; mase_as_issued: number; size: number } };
    expect(accuracy.mase).toBeLessThan(accuracy.mase_as_issued);
    await text(page, `Yes, by ${(100 * (1 - accuracy.mase)).toFixed(1)} %.`);
    await text(page, new RegExp(`Over ${accuracy.n} forecasts since 26 Jan 2024`));
    const listed = (await page.locator(".record .coverage").textContent())!;
    expect(listed).toContain(`The ratio of the errors is ${accuracy.mase.toFixed(3)} against the close that the forecast was made from, and ${accuracy.mase_as_issued.toFixed(3)} against the price when it was issued.`);
    expect(listed).toContain("Half of the forecasts were issued within 2.0 s of the close.");
    expect(listed).toContain(`${(100 * accuracy.size).toFixed(0)} % of the model’s own predicted move is used.`);
    expect(await page.locator(".record tbody tr").allTextContents()).toEqual(expect.arrayContaining([expect.stringMatching(/^Lasso/), expect.stringMatching(/^No change/)]));
    await text(page, /Of the last 9\d prices here/);
    await page.locator(".chart canvas").first().waitFor();
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: `${SHOTS}inside.png`, fullPage: true });

    const other = await open(new URL(page.url()).pathname + new URL(page.url()).search);
    await answer(other).waitFor();
    expect(await other.getByRole("radio", { name: "15 minutes" }).isChecked()).toBe(true);
    await text(other, `Yes, by ${(100 * (1 - accuracy.mase)).toFixed(1)} %.`);
    await other.getByRole("radio", { name: "60 minutes" }).check();
    await text(other, /Over \d+ hours since/);
    expect(new URL(other.url()).searchParams.has("horizon")).toBe(false);
  });

  it("says that nothing is on record where nothing is", async () => {
    const page = await open("/?coin=BTC-USD&horizon=30");
    await answer(page).waitFor();
    await text(page, "no forecast for Bitcoin by No change for 30 minutes ahead has been scored");
    await page.locator(".record").scrollIntoViewIfNeeded();
    await text(page, "No forecast for 30 minutes ahead is on record here.");
    expect(await violations(page)).toEqual([]);
  });

  it("draws each interval of a quarter where it belongs", async () => {
    const page = await open("/?coin=ETH-USD&horizon=15");
    await toChart(page);
    await page.getByLabel("6 hours").check();
    await text(page, /Of the last 2\d prices here/);
    const shades = async () => (await drawn(page)).filter((row) => /[OI]/.test(row)).length;
    await expect.poll(shades, { timeout: LONG }).toBeGreaterThan(20);
    await page.locator(".history").screenshot({ path: `${SHOTS}quarters.png` });
  });
});

describe("the verdict", () => {
  it("is of the whole record, and follows the test of the service", async () => {
    const page = await open("/?coin=ETH-USD&model=lightgbm");
    await answer(page).waitFor();
    const { accuracy } = (await (await fetch(`${site.url}/api/accuracy?coin=ETH-USD&model_name=lightgbm`)).json()) as { accuracy: { n: number; dm_t: number; luck: { t: number; mase_low: number } } };
    expect(accuracy.n).toBeGreaterThan(990);
    expect(accuracy.dm_t).toBeLessThan(-accuracy.luck.t);
    await text(page, /Yes, by \d+\.\d %\./);
    await text(page, new RegExp(`Over ${accuracy.n} hours since`));
    await text(page, `By luck alone the ratio of the two lies between ${accuracy.luck.mase_low.toFixed(3)} and`);
    await page.locator(".record").screenshot({ path: `${SHOTS}verdict.png` });
  });
});

describe("what goes wrong", () => {
  it("a chart that could not be fetched is fetched again", async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    page.setDefaultTimeout(LONG);
    await page.goto(`${site.url}/how/`); // so that only what the other page adds is refused
    let refused = 0;
    await page.route("**/*.js", async (route) => {
      const answer = await route.fetch();
      if ((await answer.text()).includes("addCustomSeries") && refused++ === 0) await route.abort();
      else await route.fulfill({ response: answer });
    });
    await page.goto(`${site.url}/`);
    await toChart(page);
    expect(refused).toBeGreaterThan(1);
  });

  it("a lost service is told, and found again without a reload", async () => {
    const page = await open("/", {}, true);
    await answer(page).waitFor();
    await site.cut();
    await text(page, /The service cannot be reached/);
    await page.screenshot({ path: `${SHOTS}away.png` });
    await site.mend();
    await page.getByText(/The service cannot be reached/).waitFor({ state: "detached" });
    await answer(page).waitFor();
  });

  it("the hour closes, is forecast anew, and the old forecast is scored, all without a reload", async () => {
    const page = await open("/?coin=BTC-USD&time=now&model=lasso");
    await text(page, "Bitcoin at 16:00 UTC");
    await text(page, /Nothing to judge yet|Too early to say/);
    await toChart(page);
    await page.getByText(/The chart follows the market by itself/).waitFor(); // the stream is open
    await tell("hour");
    await text(page, "Bitcoin at 17:00 UTC");
    await text(page, /Just scored: for 16:00 UTC Lasso said/);
    await text(page, /Too early to say/);
    await text(page, "LightGBM, version 9, was turned down");
    await text(page, "mae 57.1 is above persistence's 56.6");
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: `${SHOTS}scored.png`, fullPage: true });
  });

  it("after a rollback the page says so, and not that the version was promoted", async () => {
    await tell("rollback");
    const page = await open("/?coin=BTC-USD");
    await page.waitForFunction(async () => JSON.stringify(await (await fetch("/api/models")).json()).includes("rolled_back"));
    await page.reload();
    await toChart(page);
    await text(page, "Lasso, version 1, was brought back in place of version 2 on 31 Jan 2024, at 15:00 UTC.");
    await text(page, "asked for by hand");
    await text(page, /Last retrained on 2 Dec 2023, at 00:00 UTC\. The champion learned from data until 1 Dec 2023, at 00:00 UTC\./);
    expect(await page.locator(".record").textContent()).not.toMatch(/passed the tests|was promoted/);
    await page.screenshot({ path: `${SHOTS}rollback.png`, fullPage: true });
  });

  it("an exchange that is away makes the answer stale, and the page says so", async () => {
    await tell("away");
    await tell("later");
    const page = await open("/?coin=BTC-USD", {}, true);
    await text(page, /The exchange is away/);
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: `${SHOTS}stale.png` });
    await tell("back");
    await page.getByText(/The exchange is away/).waitFor({ state: "detached", timeout: 50_000 });
  });
});

describe("every screen", () => {
  const screens: Record<string, BrowserContextOptions> = {
    desktop: {},
    dark: { colorScheme: "dark" },
    phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true, reducedMotion: "reduce" },
    zoomed: { viewport: { width: 320, height: 640 } }, // what 400 % makes of a desktop
  };
  for (const [name, options] of Object.entries(screens)) {
    for (const path of ["/", "/how/"]) {
      it(`${path} on ${name}: fits, and axe finds nothing`, async () => {
        const page = await open(path, options);
        if (path === "/") {
          await toChart(page);
          await text(page, /Of the last 24 prices here/);
          await text(page, "Retraining");
          await page.locator(".fan").waitFor();
        }
        await page.waitForLoadState("load");
        expect(await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth)).toBeLessThanOrEqual(0);
        expect(await violations(page)).toEqual([]);
        await page.evaluate(() => Promise.all([...document.images].map((image) => ((image.loading = "eager"), image.decode()))));
        await page.screenshot({ path: `${SHOTS}${name}${path === "/" ? "" : "-how"}.png`, fullPage: true });
      });
    }
  }

  it("an address that does not exist says so", async () => {
    const page = await open("/nothing/", {}, true);
    await text(page, "There is nothing at this address");
  });
});

it("asks for less than 200 kB of JavaScript, chart included", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const sizes: Promise<number>[] = [];
  page.on("requestfinished", (request) => void (request.url().endsWith(".js") && sizes.push(request.sizes().then((one) => one.responseBodySize))));
  await page.goto(`${site.url}/`);
  await toChart(page);
  await page.getByText(/Of the last 24 prices here/).waitFor();
  const bytes = (await Promise.all(sizes)).reduce((sum, one) => sum + one, 0);
  console.log(`JavaScript on a first load: ${(bytes / 1000).toFixed(1)} kB`);
  expect(bytes).toBeLessThan(200_000);
});
