// Serve out/ as the service does, and hand everything else on to a service: for looking at a build, and for the end-to-end tests.
//   node scripts/preview.mjs http://127.0.0.1:8000 [port]
import { createHash } from "node:crypto";
import { createReadStream, existsSync, readFileSync, statSync } from "node:fs";
import { createServer, request } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { createGzip } from "node:zlib";

const OUT = fileURLToPath(new URL("../out", import.meta.url));
const KINDS = {
  ".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".json": "application/json",
  ".txt": "text/plain; charset=utf-8", ".svg": "image/svg+xml", ".png": "image/png", ".ico": "image/x-icon",
};

/** The strictest policy that a page of the export works under: its own inline scripts by their hashes, nothing from elsewhere. */
export function policy(html) {
  const hashes = [...html.matchAll(/<script(?![^>]*\bsrc=)[^>]*>([\s\S]*?)<\/script>/g)].map((match) => `'sha256-${createHash("sha256").update(match[1]).digest("base64")}'`);
  return [
    "default-src 'none'", `script-src 'self' ${[...new Set(hashes)].join(" ")}`, "style-src 'self'", "img-src 'self'", "connect-src 'self'",
    "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
  ].join("; ");
}

function find(path) {
  const file = join(OUT, normalize(decodeURIComponent(path)));
  if (!file.startsWith(OUT)) return null;
  for (const one of [file, join(file, "index.html")]) if (existsSync(one) && statSync(one).isFile()) return one;
  return null;
}

export function preview(service, port = 0) {
  const server = createServer((question, answer) => {
    const path = new URL(question.url, "http://here").pathname;
    const file = /^\/(api|health|docs|openapi.json|metrics)/.test(path) ? undefined : find(path);
    if (file === undefined) {
      const onward = request(new URL(question.url, service), { method: question.method, headers: question.headers }, (reply) => {
        answer.writeHead(reply.statusCode, reply.headers);
        reply.pipe(answer);
        answer.on("close", () => reply.destroy());
      });
      onward.on("error", () => answer.headersSent ? answer.destroy() : answer.writeHead(502, { "content-type": "text/html" }).end("away"));
      return question.pipe(onward);
    }
    const found = file ?? join(OUT, "404.html");
    const headers = {
      "content-type": KINDS[extname(found)] ?? "application/octet-stream", "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
      "cache-control": path.startsWith("/_next/static/") ? "public, max-age=31536000, immutable" : "no-cache",
    };
    if (found.endsWith(".html")) headers["content-security-policy"] = policy(readFileSync(found, "utf8"));
    const squeezed = /\.(html|js|css|svg|txt|json)$/.test(found) && /\bgzip\b/.test(question.headers["accept-encoding"] ?? "");
    answer.writeHead(file ? 200 : 404, squeezed ? { ...headers, "content-encoding": "gzip" } : headers);
    if (question.method === "HEAD") return answer.end();
    const stream = createReadStream(found);
    (squeezed ? stream.pipe(createGzip()) : stream).pipe(answer);
  });
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve({ server, url: `http://127.0.0.1:${server.address().port}` })));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [service = "http://127.0.0.1:8000", port = "3000"] = process.argv.slice(2);
  console.log(`${(await preview(service, Number(port))).url} shows out/ and asks ${service}`);
}
