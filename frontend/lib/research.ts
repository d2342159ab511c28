import research from "@/generated/research.json";

/** What scripts/figures.mjs took from the experiment notebooks. */
export type FigureName = keyof typeof research.figures;
export interface Table {
  name: string;
  columns: string[];
  rows: { label: string; cells: string[] }[];
}

export const figures = research.figures;
export const tables: Record<keyof typeof research.tables, Table[]> = research.tables;

/** A cell of a table, by the names of its row and column; a name that is gone ends the build. */
export function cell(table: Table | undefined, row: string, column: string): string {
  const found = table?.rows.find((one) => one.label === row)?.cells[table.columns.indexOf(column)];
  if (found === undefined) throw new Error(`no cell "${row}", "${column}" in the experiments' tables: mend lib/research.ts or the page that asks`);
  return found;
}
