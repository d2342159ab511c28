// Take figures and tables out of the experiment notebooks' stored outputs, so that the page shows what was computed and nothing drawn by hand.
// A figure is found by its notebook and the heading above it; a heading that is gone ends the build with its name.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { outputsUnder, pngSize, readTable } from "./notebook.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

const FIGURES = {
  saved: ["does_it_beat_persistence", "The picture that shows it"],
  calibration: ["backtest_report", "Calibration"],
  coverage: ["backtest_report", "Coverage, four weeks at a time"],
  median: ["why_the_median_and_not_the_mean", "What a median sees and a mean does not"],
  groups: ["what_are_the_features_worth", "What a group can do alone"],
  decay: ["how_fast_does_skill_decay", "On the same hours"],
};
const TABLES = {
  published: ["does_it_beat_persistence", "Side by side"],
  backtest: ["backtest_report", "One table per product"],
  money: ["backtest_report", "In money"],
};

const notebook = (name) => JSON.parse(readFileSync(here(`../../nbs/experiments/${name}.ipynb`), "utf8"));

rmSync(here("../public/figures"), { recursive: true, force: true });
mkdirSync(here("../public/figures"), { recursive: true });
mkdirSync(here("../generated"), { recursive: true });

const figures = {};
for (const [name, [from, heading]] of Object.entries(FIGURES)) {
  const [encoded] = outputsUnder(notebook(from), heading, "image/png");
  if (!encoded) throw new Error(`${from}.ipynb has no figure under "${heading}": scripts/figures.mjs has to name another`);
  const png = Buffer.from(encoded, "base64");
  writeFileSync(here(`../public/figures/${name}.png`), png);
  figures[name] = { from, ...pngSize(png) };
}
const tables = {};
for (const [name, [from, heading]] of Object.entries(TABLES)) {
  tables[name] = outputsUnder(notebook(from), heading, "text/html").map(readTable);
  if (!tables[name].length) throw new Error(`${from}.ipynb has no table under "${heading}": scripts/figures.mjs has to name another`);
}
writeFileSync(here("../generated/research.json"), JSON.stringify({ figures, tables }, null, 1));
console.log(`${Object.keys(figures).length} figures and ${Object.keys(tables).length} tables taken from the experiments`);
