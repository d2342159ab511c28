import type { Prediction } from "@/lib/api";
import { age, clock, coinName, dayAndClock, modelName, money, ownClock, percent, signedBps, signedMoney } from "@/lib/format";
import { serviceNow, type Live } from "@/lib/live";
import { RangeStrip } from "./RangeStrip";

/** The forecast in words and figures. */
export function Answer({ live, prediction, now }: { live: Live; prediction: Prediction; now: number }) {
  const { coin, current_price: last, interval, interval_50: half, actual_price: actual } = prediction;
  const together = [interval.low, half.low, prediction.predicted_price, half.high, interval.high, actual];
  const price = (value: number) => money(value, coin, ...together);
  const centre = price(prediction.predicted_price);
  const own = ownClock(prediction.predicted_for);
  return (
    <section className="answer" aria-labelledby="answer">
      <h1 id="answer">
        {coinName(coin)} at {clock(prediction.predicted_for)} UTC
        <small>{dayAndClock(prediction.predicted_for).split(",")[0]}{own && `, ${own} on your clock`}</small>
      </h1>
      <p className={centre.length > 12 ? "price long" : "price"}>
        <data value={prediction.predicted_price}>{centre}</data>
      </p>
      <p className="difference">
        <strong>{signedMoney(prediction.difference, coin, ...together)}</strong>, or <strong>{signedBps(prediction.difference_bps)} bps</strong>, against {price(last)} at {clock(prediction.data_until)}
      </p>
      <RangeStrip prediction={prediction} />
      <dl className="ranges">
        <div><dt><span className="swatch inner" />Even odds <span className="level">50 %</span></dt><dd>{price(half.low)} to {price(half.high)}</dd></div>
        <div><dt><span className="swatch outer" />Nine in ten <span className="level">90 %</span></dt><dd>{price(interval.low)} to {price(interval.high)}</dd></div>
        {actual !== null && (
          <div className="came"><dt><span className="swatch actual" />What came</dt><dd>{price(actual)}, {place(actual, prediction)}</dd></div>
        )}
        {live.tick && actual === null && (
          <div className="running"><dt>Now</dt><dd><data value={live.tick.price}>{price(live.tick.price)}</data> <span className="quiet">at {clock(live.tick.time)}{live.tick.via === "rest" ? ", looked up now and then" : ", live"}</span></dd></div>
        )}
      </dl>
      <dl className="facts">
        <div><dt>Known until</dt><dd>{dayAndClock(prediction.data_until)} UTC{actual === null && `, ${age(serviceNow(live, now) - Date.parse(prediction.data_until))} ago`}</dd></div>
        <div><dt>Model</dt><dd>{modelName(prediction.model)}, version {prediction.model_version}</dd></div>
        <div><dt>Prices from</dt><dd>{prediction.source}</dd></div>
        {prediction.backtest.mase !== null && prediction.model !== "persistence" && (
          <div><dt>In its backtest</dt><dd>{advantage(prediction.backtest.mase)}{prediction.backtest.coverage_90 !== null && `; 90 % interval held ${percent(prediction.backtest.coverage_90)}`}</dd></div>
        )}
      </dl>
      <UnusualHours hours={prediction.unusual_hours} />
      {prediction.model === "persistence" && (
        <p className="aside">“No change” is the measure that every model is held against: it says the price stays where it is, and knows only how far prices wander in an hour.</p>
      )}
    </section>
  );
}

/** Hours of the last week that moved farther than markets do: the reader should look at the chart. */
function UnusualHours({ hours }: { hours: string[] }) {
  if (!hours.length) return null;
  const named = hours.slice(-3).map((hour) => `${dayAndClock(hour)} UTC`).join("; ");
  return (
    <p className="aside">
      The last week holds {hours.length === 1 ? "an hour" : `${hours.length} hours`} that moved by more than 12 times the usual: {named}. That is a wrong price, a redenomination, or news. The forecast counts it as a smaller move.
    </p>
  );
}

function place(actual: number, { interval, interval_50: half }: Prediction): string {
  const within = (range: { low: number; high: number }) => actual >= range.low && actual <= range.high;
  if (within(half)) return "within both intervals";
  return within(interval) ? "within the 90 % interval" : "outside both intervals";
}

function advantage(mase: number): string {
  const percents = 100 * (1 - mase);
  if (Math.abs(percents) < 0.05) return "errors as large as those of “no change”";
  return `errors ${Math.abs(percents).toFixed(1)} % ${percents > 0 ? "smaller" : "larger"} than those of “no change”`;
}
