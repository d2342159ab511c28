// The built page against the real service, over a replay exchange whose clock the test moves. `npm run build` comes first.
import { spawn, type ChildProcess } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import axe from "axe-core";
import { chromium, type Browser, type BrowserContextOptions, type Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

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

async function tell(command: "hour" | "away" | "later" | "back"): Promise<void> {
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
    await text(page, /The challenger LightGBM, version 9, was turned down/);
    await text(page, "mae 57.1 is above persistence's 56.6");
    expect(await violations(page)).toEqual([]);
    await page.screenshot({ path: `${SHOTS}scored.png`, fullPage: true });
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
