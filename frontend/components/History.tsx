import { memo, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import type { HistoryAnswer, Prediction, PriceTick } from "@/lib/api";
import { horizonQuery } from "@/lib/choice";
import { clock, dayAndClock, money, percent, plural } from "@/lib/format";
import { askedHours, gatherInside, judge, lastDrawn, loadPast, type Drawn, type Past, type Told } from "@/lib/history";
import { useAnswer } from "@/lib/live";
import { HOURLY } from "@/lib/path";
import { Chart } from "./Chart";

type Spans = readonly (readonly [hours: number, text: string])[];
const HOUR_SPANS: Spans = [[24, "24 hours"], [72, "3 days"], [168, "7 days"], [720, "30 days"]];
const QUARTER_SPANS: Spans = [[6, "6 hours"], [24, "24 hours"], [72, "3 days"], [168, "7 days"]];
const NO_PAST: Past = { closes: [], forecasts: [] };

interface Props {
  prediction: Prediction;
  tick: PriceTick | null;
  streaming: boolean;
  model: string;
  /** Minutes ahead of the forecasts that are shown */
  horizon: number;
  /** Whether the record is shown up to now, not up to a past hour */
  followed: boolean;
  /** Changes when the record inside the hour has new outcomes */
  quarter: number | null;
}

/** The past behind the forecast: drawn, summed up in a sentence, and as a table for those who cannot see the drawing. */
export const History = (props: Props) => (props.horizon === HOURLY ? <Hours {...props} /> : <Quarters key={props.horizon} {...props} />);

function Hours({ prediction, tick, streaming, model }: Props) {
  const [hours, setHours] = useState(24);
  const [state, setState] = useState<State>("loading");
  const [past, setPast] = useState(NO_PAST);
  const { coin, data_until, model_version, actual_price } = prediction;

  useEffect(() => {
    const stop = new AbortController();
    setState("loading");
    void loadPast(prediction, hours, model, stop.signal, setPast).then((whole) => stop.signal.aborted || setState(whole ? "whole" : "parts"));
    return () => stop.abort();
    // The same hour and version bring the same past, however often the forecast is received again.
  }, [coin, data_until, model_version, actual_price, hours, model]); // eslint-disable-line

  const since = Date.parse(data_until) + (1 - hours) * 3_600_000;
  return (
    <View title="The hours before" spans={HOUR_SPANS} hours={hours} onHours={setHours} state={state} past={past} since={since} tick={tick} streaming={streaming} coin={coin} each="hour">
      <Chart newest={prediction} past={past} tick={tick} span={(hours + 1) * 3600} apart={3600} step={3600} />
    </View>
  );
}

/** Forecasts inside the hour are shown from the record alone: they were made at quarters of the hour, and none is made afterwards. */
function Quarters({ prediction, tick, streaming, model, horizon, followed, quarter }: Props) {
  const [hours, setHours] = useState(24);
  const { coin } = prediction;
  const asked = askedHours(prediction, hours);
  const { data, failed } = useAnswer<HistoryAnswer>(asked ? "/api/history" : null, { coin, model_name: model, hours: String(asked), ...horizonQuery(horizon) }, quarter);
  const history = useKept(data?.history ?? null, `${coin} ${model}`);
  const until = followed ? null : Date.parse(prediction.data_until);
  const past = useMemo(() => (history ? gatherInside(history, hours, until) : NO_PAST), [history, hours, until]);
  const newest = useMemo((): Drawn | null => lastDrawn(past, coin, horizon), [past, coin, horizon]);
  const state = failed || !asked || data?.history.stale ? "parts" : data ? "whole" : "loading";
  const since = history ? (until ?? Date.parse(history.until)) - (hours - 1) * 3_600_000 : 0;
  return (
    <View title={`The last forecasts for ${horizon} minutes ahead`} spans={QUARTER_SPANS} hours={hours} onHours={setHours} state={state} past={past} since={since} tick={tick} streaming={streaming} coin={coin} each="quarter">
      {newest
        ? <Chart newest={newest} past={past} tick={tick} span={hours * 3600 + horizon * 60} apart={900} step={horizon % 15 ? 300 : 900} />
        : <p className="chart empty" role="status">{state === "whole" ? `No forecast for ${horizon} minutes ahead is on record here. One is recorded at each quarter of the hour.` : state === "loading" ? "Asking for the record …" : "The record cannot be had just now."}</p>}
    </View>
  );
}

/** The last value that was there, while the next is asked for; nothing from before the key changed. */
function useKept<T>(value: T | null, key: string): T | null {
  const kept = useRef<{ value: T | null; key: string }>({ value: null, key });
  if (value !== null || kept.current.key !== key) kept.current = { value, key };
  return kept.current.value;
}

type State = "loading" | "whole" | "parts";

interface ViewProps {
  title: string;
  spans: Spans;
  hours: number;
  onHours: (hours: number) => void;
  state: State;
  past: Past;
  /** A forecast from before this time is wanted; that there is none is said */
  since: number;
  tick: PriceTick | null;
  streaming: boolean;
  /** What the prices are closes of */
  each: "hour" | "quarter";
  coin: string;
  /** The chart */
  children: ReactNode;
}

function View({ title, spans, hours, onHours, state, past, since, tick, streaming, each, coin, children }: ViewProps) {
  const { known, late, within50, within90 } = judge(past.forecasts);
  const first = past.forecasts[0];
  return (
    <section className="history" aria-labelledby="history">
      <div className="head">
        <h2 id="history">{title}</h2>
        <fieldset className="spans">
          <legend className="unseen">How far back</legend>
          {spans.map(([value, text]) => (
            <label key={value}><input type="radio" name="span" checked={hours === value} onChange={() => onHours(value)} /><span>{text}</span></label>
          ))}
        </fieldset>
      </div>
      <figure>
        {children}
        <figcaption>
          <ul className="legend">
            <li><span className="swatch line" />price at each {each}’s end</li>
            <li><span className="swatch inner" />50 % and <span className="swatch outer" />90 % intervals</li>
            <li><span className="swatch dots" />forecast</li>
            {tick && <li><span className="swatch dashes" />price now</li>}
          </ul>
          <p aria-live="polite">
            {known > 0 && <>Of the last {plural(known, "price")} here, {percent(within50 / known, 0)} lay within the 50 % interval and {percent(within90 / known, 0)} within the 90 % interval. </>}
            {first && Date.parse(first.predicted_for) > since && state === "whole" && <>There are no forecasts from before {dayAndClock(first.predicted_for)}. </>}
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
          <Rows forecasts={past.forecasts} coin={coin} heading={each === "hour" ? "Hour’s end, UTC" : "Time, UTC"} />
        </div>
      </details>
    </section>
  );
}

/** Newest first. Kept as it is while only the running price changes. */
const Rows = memo(function Rows({ forecasts, coin, heading }: { forecasts: readonly Told[]; coin: string; heading: string }) {
  return (
    <table>
      <thead><tr><th scope="col">{heading}</th><th scope="col">Forecast</th><th scope="col">90 % interval</th><th scope="col">What came</th><th scope="col">Made</th></tr></thead>
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
