"use client";
import { memo, useEffect, useState } from "react";
import type { Prediction, PriceTick } from "@/lib/api";
import { clock, dayAndClock, money, percent, plural } from "@/lib/format";
import { judge, loadPast, type Past, type Told } from "@/lib/history";
import { Chart } from "./Chart";

const SPANS = [[24, "24 hours"], [72, "3 days"], [168, "7 days"], [720, "30 days"]] as const;

interface Props {
  prediction: Prediction;
  tick: PriceTick | null;
  streaming: boolean;
  model: string;
}

/** The past behind the forecast: drawn, summed up in a sentence, and as a table for those who cannot see the drawing. */
export function History({ prediction, tick, streaming, model }: Props) {
  const [hours, setHours] = useState<number>(24);
  const [state, setState] = useState<"loading" | "whole" | "parts">("loading");
  const [past, setPast] = useState<Past>({ closes: [], forecasts: [] });
  const { coin, data_until, model_version, actual_price } = prediction;

  useEffect(() => {
    const stop = new AbortController();
    setState("loading");
    void loadPast(prediction, hours, model, stop.signal, setPast).then((whole) => stop.signal.aborted || setState(whole ? "whole" : "parts"));
    return () => stop.abort();
    // The same hour and version bring the same past, however often the forecast is received again.
  }, [coin, data_until, model_version, actual_price, hours, model]); // eslint-disable-line

  const { known, late, within50, within90 } = judge(past.forecasts);
  const first = past.forecasts[0]?.predicted_for;
  const missing = first !== undefined && Date.parse(first) - Date.parse(data_until) > (1 - hours) * 3_600_000;
  return (
    <section className="history" aria-labelledby="history">
      <div className="head">
        <h2 id="history">The hours before</h2>
        <fieldset className="spans">
          <legend className="unseen">How far back</legend>
          {SPANS.map(([value, text]) => (
            <label key={value}><input type="radio" name="span" checked={hours === value} onChange={() => setHours(value)} /><span>{text}</span></label>
          ))}
        </fieldset>
      </div>
      <figure>
        <Chart prediction={prediction} past={past} tick={tick} hours={hours} />
        <figcaption>
          <ul className="legend">
            <li><span className="swatch line" />price at each hour’s end</li>
            <li><span className="swatch inner" />50 % and <span className="swatch outer" />90 % intervals</li>
            <li><span className="swatch dots" />forecast</li>
            {tick && <li><span className="swatch dashes" />price now</li>}
          </ul>
          <p aria-live="polite">
            {known > 0 && <>Of the last {plural(known, "price")} here, {percent(within50 / known, 0)} lay within the 50 % interval and {percent(within90 / known, 0)} within the 90 % interval. </>}
            {missing && state === "whole" && <>There are no forecasts from before {dayAndClock(first)}. </>}
            {state === "loading" && "Earlier hours are being asked for …"}
            {state === "parts" && "Some earlier hours could not be had."}
          </p>
          <p className="quiet">
            {known > 0 && late === 0 && "Past forecasts stand as they were made at the time."}
            {late > 0 && `Past forecasts made at the time: ${known - late}. Made afterwards, from the prices up to then: ${late}; no score counts these.`}
            {streaming && " The chart follows the market by itself."}
          </p>
        </figcaption>
      </figure>
      <details>
        <summary>The same as a table</summary>
        <div className="scroll" tabIndex={0} role="region" aria-label="Forecasts and what came">
          <Rows forecasts={past.forecasts} coin={coin} />
        </div>
      </details>
    </section>
  );
}

/** Newest first. Kept as it is while only the running price changes. */
const Rows = memo(function Rows({ forecasts, coin }: { forecasts: readonly Told[]; coin: string }) {
  return (
    <table>
      <thead><tr><th scope="col">Hour’s end, UTC</th><th scope="col">Forecast</th><th scope="col">90 % interval</th><th scope="col">What came</th><th scope="col">Made</th></tr></thead>
      <tbody>
        {[...forecasts].reverse().map((one) => {
          const price = (value: number) => money(value, coin, one.interval.low, one.predicted_price, one.interval.high, one.actual_price);
          return (
            <tr key={one.predicted_for}>
              <th scope="row">{forecasts.length > 25 ? dayAndClock(one.predicted_for) : clock(one.predicted_for)}</th>
              <td>{price(one.predicted_price)}</td>
              <td>{price(one.interval.low)} to {price(one.interval.high)}</td>
              <td>{one.actual_price === null ? "not yet known" : price(one.actual_price)}</td>
              <td>{one.late ? "afterwards" : "beforehand"}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
});
