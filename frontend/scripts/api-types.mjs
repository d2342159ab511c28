// Write lib/api-types.ts from the service's OpenAPI document; with --check, fail when it is not what that document says.
//   node scripts/api-types.mjs [--check] [openapi.json or its address]     default: asks the package of this checkout
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import openapiTS, { astToString } from "openapi-typescript";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const target = here("../lib/api-types.ts");

async function document(from) {
  if (from?.startsWith("http")) return (await fetch(from)).json();
  if (from) return JSON.parse(readFileSync(from, "utf8"));
  const venv = here("../../.venv/bin/python");
  const python = process.env.PYTHON ?? (existsSync(venv) ? venv : "python3");
  return JSON.parse(execFileSync(python, [here("openapi.py")], { encoding: "utf8", cwd: here("../..") }));
}

const from = process.argv.slice(2).find((word) => !word.startsWith("--"));
const text = `// Written by scripts/api-types.mjs from the service's OpenAPI document. Do not edit.\n\n${astToString(await openapiTS(await document(from)))}`;
if (!process.argv.includes("--check")) {
  writeFileSync(target, text);
} else if (!existsSync(target) || readFileSync(target, "utf8") !== text) {
  console.error("lib/api-types.ts is not what the service's OpenAPI document says: run `npm run api-types`, and mend what no longer compiles.");
  process.exit(1);
} else {
  console.log("lib/api-types.ts is in step with the service.");
}
