// Only the front page does anything by itself. The others are read, and need no script: Next.js's are taken out of them, so that a phone shows them at once.
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A page without its scripts and without what asks for them beforehand. */
export const withoutScripts = (html) => html.replace(/<script\b[^>]*>[\s\S]*?<\/script>/g, "").replace(/<link\b(?=[^>]*\bas="script")[^>]*>/g, "");

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const out = fileURLToPath(new URL("../out/", import.meta.url));
  const pages = readdirSync(out, { recursive: true }).map(String).filter((path) => path.endsWith(".html") && path !== "index.html");
  for (const page of pages) writeFileSync(out + page, withoutScripts(readFileSync(out + page, "utf8")));
}
