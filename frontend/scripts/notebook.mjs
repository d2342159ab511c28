// Reading stored outputs of notebooks.

const joined = (text) => (Array.isArray(text) ? text.join("") : text);

/** The outputs of one kind (image/png, text/html) between a heading and the next one. */
export function outputsUnder(notebook, heading, kind) {
  const found = [];
  let within = false;
  for (const cell of notebook.cells) {
    if (cell.cell_type === "markdown") {
      const headings = [...joined(cell.source).matchAll(/^#+ +(.+?) *$/gm)].map((match) => match[1]);
      if (headings.length) within = headings.at(-1) === heading;
    } else if (within) {
      for (const output of cell.outputs ?? []) if (output.data?.[kind]) found.push(joined(output.data[kind]));
    }
  }
  return found;
}

/** Width and height as a PNG's header tells them. */
export function pngSize(png) {
  return { width: png.readUInt32BE(16), height: png.readUInt32BE(20) };
}

const cellText = (html) =>
  html.replace(/<[^>]+>/g, "").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&").trim();

/** A pandas table with one index and one level of columns: its name, its columns, its rows by label. */
export function readTable(html) {
  const lines = [...html.matchAll(/<tr[^>]*>([\s\S]*?)<\/tr>/g)].map((line) =>
    [...line[1].matchAll(/<t[hd][^>]*>([\s\S]*?)<\/t[hd]>/g)].map((cell) => cellText(cell[1])),
  );
  const [head = [], ...rest] = lines;
  // The index's name, where it has one, stands in a second line of the head, or at its very left.
  const named = rest[0] && rest[0].slice(1).every((cell) => cell === "") ? rest.shift()[0] : head[0];
  return { name: named ?? "", columns: head.slice(1), rows: rest.map(([label, ...cells]) => ({ label, cells })) };
}
