import type { DayScore } from "@/lib/api";
import { count, percent, signed } from "@/lib/format";
import { dayBars } from "@/lib/record";

const HALF = 50;

/** Day by day: above the line errors were smaller than those of "no change". Days scatter widely, and that is worth seeing. */
export function DayBars({ days, unit }: { days: readonly DayScore[]; unit: "hour" | "forecast" }) {
  const { bars, largest } = dayBars(days, HALF);
  if (bars.length < 2) return null;
  const width = 100 / bars.length;
  const better = bars.filter((one) => one.percent > 0).length;
  return (
    <figure className="days">
      <svg viewBox={`0 0 100 ${2 * HALF}`} preserveAspectRatio="none" aria-hidden="true">
        {bars.map((one, index) => (
          <rect key={one.day} className={one.percent >= 0 ? "better" : "worse"} x={index * width + 0.1 * width} width={0.8 * width} y={one.height >= 0 ? HALF - one.height : HALF} height={Math.max(0.5, Math.abs(one.height))} />
        ))}
        <line x1="0" x2="100" y1={HALF} y2={HALF} vectorEffect="non-scaling-stroke" />
      </svg>
      <figcaption>Better than “no change” on {better} of {bars.length} days; the tallest bar is {largest.toFixed(1)} %.</figcaption>
      <details>
        <summary>Day by day, in numbers</summary>
        <div className="scroll" tabIndex={0} role="region" aria-label="Record by day">
          <table>
            <thead><tr><th scope="col">Day</th><th scope="col">{unit === "hour" ? "Hours" : "Forecasts"}</th><th scope="col">Better by</th><th scope="col">50 % held</th><th scope="col">90 % held</th></tr></thead>
            <tbody>
              {[...days].reverse().map((one) => (
                <tr key={one.day}>
                  <th scope="row">{one.day}</th><td>{count(one.n)}</td><td>{one.mase === null ? "–" : `${signed(100 * (1 - one.mase), 1)} %`}</td><td>{percent(one.coverage_50, 0)}</td><td>{percent(one.coverage_90, 0)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  );
}
