// Lighthouse's scores of the built page, served by the real service: the median of three runs for each page. A score under 95 ends in failure.
//   make bench-page
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { launch } from "chrome-launcher";
import lighthouse from "lighthouse";

const BAR = 95, RUNS = 3, PAGES = ["/", "/how/"], CATEGORIES = ["performance", "accessibility", "best-practices"];
const PARTS = ["first-contentful-paint", "largest-contentful-paint", "total-blocking-time", "cumulative-layout-shift", "speed-index"];
const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const median = (values) => values.toSorted((one, other) => one - other)[Math.floor(values.length / 2)];

const python = process.env.PYTHON ?? here("../../.venv/bin/python");
const service = spawn(python, [here("../e2e/service.py")], { cwd: here("../.."), stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, OMP_NUM_THREADS: "1" } });
const [url] = await once(createInterface({ input: service.stdout }), "line");
const chrome = await launch({ chromePath: process.env.CHROMIUM, chromeFlags: ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking"] });
let missed = false;
try {
  for (const page of PAGES) {
    const runs = [];
    for (let run = 0; run < RUNS; run++) {
      process.stderr.write(`${page} run ${run + 1} of ${RUNS}\r`);
      const { lhr } = await lighthouse(url + page, { port: chrome.port, onlyCategories: CATEGORIES, logLevel: "error" });
      if (lhr.runtimeError) throw new Error(`${page}: ${lhr.runtimeError.message}`);
      runs.push(lhr);
      if (process.env.DETAILS) tellDetails(lhr);
    }
    const scores = CATEGORIES.map((name) => [name, Math.round(100 * median(runs.map((lhr) => lhr.categories[name].score)))]);
    missed ||= scores.some(([, score]) => score < BAR);
    const parts = PARTS.map((name) => `${runs[0].audits[name].title} ${median(runs.map((lhr) => lhr.audits[name].numericValue)).toFixed(name.includes("shift") ? 3 : 0)}`);
    console.log(`${page}  ${scores.map(([name, score]) => `${name} ${score}`).join(", ")}  (${parts.join(", ")}; machine ${median(runs.map((lhr) => lhr.environment.benchmarkIndex)).toFixed(0)})`);
  }
} finally {
  await chrome.kill();
  service.stdin.end();
}
if (missed) console.error(`a score under ${BAR}; DETAILS=1 make bench-page names what costs them`);
process.exitCode = missed ? 1 : 0;

/** The audits that lost points, with what they found. */
function tellDetails(lhr) {
  for (const audit of Object.values(lhr.audits)) {
    if (audit.score === null || audit.score >= 0.9 || audit.scoreDisplayMode === "informative") continue;
    console.log("   ", audit.id, audit.score, audit.displayValue ?? "", JSON.stringify(audit.details?.items?.slice(0, 3) ?? "").slice(0, 400));
  }
}
