import { figures, type FigureName, type Table } from "@/lib/research";

/** A figure that an experiment made. Its caption says what to see in it, for those too who cannot see it. */
export function Figure({ name, alt, caption, wide = false }: { name: FigureName; alt: string; caption: string; wide?: boolean }) {
  const { from, width, height } = figures[name];
  return (
    <figure className={wide ? "wide" : undefined}>
      <img src={`/figures/${name}.png`} width={width} height={height} alt={alt} loading="lazy" decoding="async" />
      <figcaption>{caption} <span className="quiet">From the experiment <code>{from}</code>.</span></figcaption>
    </figure>
  );
}

/** A table that an experiment made, with the columns that matter under names for readers. */
export function ResearchTable({ table, columns, label, rows = {} }: { table: Table; columns: Record<string, string>; label: string; rows?: Record<string, string> }) {
  const places = Object.keys(columns).map((column) => table.columns.indexOf(column));
  if (places.includes(-1)) throw new Error(`the experiments' table "${table.name}" has no such columns: ${Object.keys(columns).join(", ")}`);
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead><tr><th scope="col">{label}</th>{Object.values(columns).map((text) => <th scope="col" key={text}>{text}</th>)}</tr></thead>
        <tbody>
          {table.rows.map((row) => (
            <tr key={row.label}><th scope="row">{rows[row.label] ?? row.label}</th>{places.map((place) => <td key={place}>{shown(row.cells[place])}</td>)}</tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const shown = (text = "") => (text === "NaN" ? "–" : text.replace(/^-/, "−"));
