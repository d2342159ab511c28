import { expect, it } from "vitest";
import { outputsUnder, pngSize, readTable } from "./notebook.mjs";

const markdown = (source) => ({ cell_type: "markdown", source });
const image = (data) => ({ cell_type: "code", outputs: [{ data: { "image/png": data } }] });

it("takes what stands between a heading and the next", () => {
  const notebook = { cells: [image("a"), markdown(["# One\n", "text"]), image(["b", "c"]), markdown("more text"), image("d"), markdown("## Two"), image("e")] };
  expect(outputsUnder(notebook, "One", "image/png")).toEqual(["bc", "d"]);
  expect(outputsUnder(notebook, "Two", "image/png")).toEqual(["e"]);
  expect(outputsUnder(notebook, "Three", "image/png")).toEqual([]);
});

it("reads a PNG's size", () => {
  const png = Buffer.alloc(24);
  png.writeUInt32BE(640, 16);
  png.writeUInt32BE(360, 20);
  expect(pngSize(png)).toEqual({ width: 640, height: 360 });
});

it("reads a table with a name of its index in a line of its own, and without", () => {
  const named = "<table><tr><th></th><th>mae</th></tr><tr><th>binance: BTC</th><th></th></tr><tr><th>lasso</th><td>&lt;1 &amp; 2</td></tr></table>";
  expect(readTable(named)).toEqual({ name: "binance: BTC", columns: ["mae"], rows: [{ label: "lasso", cells: ["<1 & 2"] }] });
  const plain = "<table><tr><th></th><th>a</th></tr><tr><th>x</th><td>1.0</td></tr></table>";
  expect(readTable(plain)).toEqual({ name: "", columns: ["a"], rows: [{ label: "x", cells: ["1.0"] }] });
});
