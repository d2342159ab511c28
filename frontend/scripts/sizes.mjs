// How much JavaScript a first visit loads, gzipped, by what each page's HTML names and what its first screen asks for; too much ends the build.
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const LIMIT = 200_000;
const out = fileURLToPath(new URL("../out/", import.meta.url));
const size = (path) => gzipSync(readFileSync(out + path)).length;

let failed = false;
const chunks = readdirSync(out, { recursive: true }).filter((path) => /\.js$/.test(path)).map(String);
for (const page of readdirSync(out, { recursive: true }).map(String).filter((path) => path.endsWith("index.html"))) {
  const html = readFileSync(out + page, "utf8");
  // Modern browsers skip what is marked noModule: the polyfills of old ones.
  const tags = [...html.matchAll(/<script[^>]*src="\/([^"]+\.js)[^"]*"[^>]*>/g)].filter(([tag]) => !/nomodule/i.test(tag));
  const named = [...new Set(tags.map((match) => match[1]))];
  const bytes = named.reduce((sum, path) => sum + size(path), 0);
  console.log(`/${page.replace("index.html", "")}: ${(bytes / 1000).toFixed(0)} kB of JavaScript in ${named.length} files`);
  failed ||= bytes > LIMIT;
}
const everything = chunks.reduce((sum, path) => sum + size(path), 0);
console.log(`all there is, chart and polyfills included: ${(everything / 1000).toFixed(0)} kB`);
if (failed) {
  console.error(`more than ${LIMIT / 1000} kB on a first load`);
  process.exit(1);
}
