import { useMemo } from "react";
import type { Path } from "@/lib/api";
import { area, corners, curved, frameOf, gridPlaces, gridPrices, line, since, SIZE, xOf, yOf } from "@/lib/fan";
import { clock, coinName, money, moneyWith } from "@/lib/format";
import type { PriceAt } from "@/lib/path";

interface Props {
  path: Path;
  /** Prices up to now, oldest first */
  prices: readonly PriceAt[];
  running: number | null;
  /** Milliseconds that are shown before the path begins */
  past: number;
}

/**
 * Intervals and medians of a path, beside the prices before it. The drawing is stretched to the width that there is; what must not be stretched,
 * letters and dots, stands at a share of that width or is drawn as an end of a line.
 */
export function Fan({ path, prices, running, past }: Props) {
  const fan = useMemo(() => corners(path), [path]);
  const edges = useMemo(() => curved(fan), [fan]);
  const frame = frameOf(fan, running === null ? prices : [...prices, { time: fan[0]!.time, price: running }], past);
  const grid = gridPrices(frame), labels = grid.map((value) => moneyWith(value, path.coin, gridPlaces(frame)));
  const now = running === null ? "" : money(running, path.coin, path.current_price, path.points[0]!.interval.low);
  const x = (time: number) => xOf(frame, time), share = (value: number) => `${value / (SIZE / 100)}%`;
  const start = fan[0]!.time, ahead = fan.slice(1);
  const medians = edges.map(({ time, median }) => ({ time, price: median }));
  const clocks = [start - past, start, ...ahead.map(({ time }) => time).filter((time) => time - start >= past)];
  return (
    <div className="fan" style={{ gridTemplateColumns: `minmax(0, 1fr) ${Math.max(...labels.map((label) => label.length), now.length + 1)}ch` }}>
      <svg className="plot" viewBox={`0 0 ${SIZE} ${SIZE}`} preserveAspectRatio="none" role="img" aria-label={`Fan of the price of ${coinName(path.coin)} over the next minutes. The table below holds the same numbers.`}>
        <path className="grid" d={grid.map((value) => `M0 ${yOf(frame, value)}H${SIZE}`).join("") + ahead.map(({ time }) => `M${x(time)} 0V${SIZE}`).join("")} />
        <path className="outer" d={area(frame, edges, "low90", "high90")} />
        <path className="inner" d={area(frame, edges, "low50", "high50")} />
        <path className="start" d={`M${x(start)} 0V${SIZE}`} />
        {running !== null && <path className="running" d={`M0 ${yOf(frame, running)}H${SIZE}`} />}
        <path className="prices" d={line(frame, since(prices, frame.from))} />
        <path className="median" d={line(frame, medians)} />
        <path className="dots" d={ahead.map(({ time, median }) => `M${x(time)} ${yOf(frame, median)}h.01`).join("")} />
      </svg>
      <svg className="axis" aria-hidden="true">
        {grid.map((value, index) => <text key={index} x="0" y={share(yOf(frame, value))}>{labels[index]}</text>)}
        {running !== null && <svg y={share(yOf(frame, running))}><rect y="-10" width="100%" height="20" /><text className="now" x="0">{now}</text></svg>}
      </svg>
      <svg className="times" aria-hidden="true">
        {ahead.map(({ time }, index) => (
          <text key={index} x={share(x(time))} y="14" className={index === ahead.length - 1 ? "last" : ""}>{(time - start) / 60_000}{index === ahead.length - 1 && " min"}</text>
        ))}
        {clocks.map((time, index) => (
          <text key={index} x={share(x(time))} y="32" className={index === 0 ? "first" : index === clocks.length - 1 ? "last" : ""}>{clock(time)}</text>
        ))}
      </svg>
    </div>
  );
}
