import type { Path, PathPoint, PriceTick, ProblemError } from "@/lib/api";
import { clock, modelName, money, percent, signedBps } from "@/lib/format";
import { useRecentPrices } from "@/lib/live";
import { asSentence, hasDirection, pathWords, secondsWords, spokenPoint, volatilityWords } from "@/lib/path-words";
import { Fan } from "./Fan";
import { Loading } from "./Notices";

/** Milliseconds of prices that are drawn before the fan. */
const BEFORE = 30 * 60_000;

interface Props {
  path: Path | null;
  /** Why there is none */
  problem: ProblemError | null;
  tick: PriceTick | null;
}

/** The forecasts from the last closed minute: in a sentence or two, drawn, and as a table. */
export function PathSection({ path, problem, tick }: Props) {
  return (
    <section className="ahead" aria-labelledby="ahead">
      <h2 id="ahead">The next {path?.points.at(-1)!.horizon_minutes ?? 60} minutes{path && `, from ${clock(path.data_until)} UTC`}</h2>
      {path ? <Shown path={path} tick={tick} /> : problem ? <p className="loading tall" role="status">{asSentence(problem.message)}</p> : <Loading what="the next minutes" tall />}
    </section>
  );
}

function Shown({ path, tick }: { path: Path; tick: PriceTick | null }) {
  const { coin, current_price: current, points } = path;
  const prices = useRecentPrices(path, points[0]!.horizon_minutes, tick, BEFORE);
  const volatility = volatilityWords(spokenPoint(path));
  return (
    <>
      <p className="expected">{unbroken(pathWords(path).join(" "))}</p>
      {volatility && <p className="expected">{unbroken(volatility)}</p>}
      <figure>
        <Fan path={path} prices={prices} running={tick?.price ?? null} past={BEFORE} />
        <figcaption>
          <ul className="legend">
            <li><span className="swatch line" />price so far</li>
            <li><span className="swatch inner" />50 % and <span className="swatch outer" />90 % intervals</li>
            <li><span className="swatch dots" />median</li>
            {tick && <li><span className="swatch dashes" />price now</li>}
          </ul>
          <p className="quiet">
            {path.stale && "The exchange is away: newer minutes are missing. "}
            From the close of the minute at {clock(path.data_until)} UTC, {money(current, coin, points[0]!.interval.low)}, computed {secondsWords(path.issued_after)} after it.
          </p>
          {path.lacking.map((sentence) => <p className="quiet" key={sentence}>{asSentence(sentence)}</p>)}
        </figcaption>
      </figure>
      <details>
        <summary>The next minutes as a table</summary>
        <div className="scroll" tabIndex={0} role="region" aria-label="Forecasts from the last closed minute">
          <table>
            <thead>
              <tr>
                <th scope="col">Minutes ahead</th><th scope="col">Time, UTC</th><th scope="col">Median</th><th scope="col">Move, bps</th><th scope="col">50 % interval</th>
                <th scope="col">90 % interval</th><th scope="col">Rise</th><th scope="col">Standard deviation, bps</th><th scope="col">Model</th>
              </tr>
            </thead>
            <tbody>{points.map((point) => <Row key={point.horizon_minutes} point={point} coin={coin} />)}</tbody>
          </table>
        </div>
      </details>
    </>
  );
}

/** Text in which no line ends between a number and its unit. */
const unbroken = (text: string) => text.replace(/(?<=\d) (?=%|bps|minutes)/g, "\u00a0");

function Row({ point, coin }: { point: PathPoint; coin: string }) {
  const { horizon_minutes, predicted_for, predicted_price, difference_bps, interval, interval_50: half, volatility, model, model_version } = point;
  const price = (value: number) => money(value, coin, interval.low, half.low, predicted_price, half.high, interval.high);
  return (
    <tr>
      <th scope="row">{horizon_minutes}</th>
      <td>{clock(predicted_for)}</td>
      <td>{price(predicted_price)}</td>
      <td>{signedBps(difference_bps)}</td>
      <td>{price(half.low)} to {price(half.high)}</td>
      <td>{price(interval.low)} to {price(interval.high)}</td>
      <td>{hasDirection(point) ? percent(point.probability_up, 0) : "–"}</td>
      <td>{volatility.bps.toFixed(1)}</td>
      <td>{modelName(model)}, version {model_version}</td>
    </tr>
  );
}
