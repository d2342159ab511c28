import { memo } from "react";
import type { Accuracy, AccuracyAnswer, Models, ScoredForecast } from "@/lib/api";
import { horizonQuery } from "@/lib/choice";
import { clock, coinName, count, day, modelName, money, moneyDifference, percent, plural, ratio, signed } from "@/lib/format";
import { useAnswer } from "@/lib/live";
import { HOURLY } from "@/lib/path";
import { secondsWords, sizeWords } from "@/lib/path-words";
import { coverageWord, expectedCoverage, hoursOf, independent, kinds, learnedUntil, unitOf, verdict, whatHappened } from "@/lib/record";
import { DayBars } from "./DayBars";
import { Loading } from "./Notices";

/** The whole ledger; the days that are drawn one by one are the last of it. */
const DAYS = "all", DRAWN = 30;
/** Models whose forecasts inside the hour are on record. */
const IN_USE = ["champion", "persistence"];

interface Props {
  coin: string;
  model: string;
  models: readonly string[];
  /** The newest hour that was scored; what is shown is asked for again then */
  scored: ScoredForecast | null;
  /** Minutes ahead of the forecasts that are judged */
  horizon: number;
  /** Changes when forecasts inside the hour were scored */
  quarter: number | null;
}

/** How right the forecasts have been that were really made beforehand, and what became of retraining. */
export const TrackRecord = memo(function TrackRecord({ coin, model, models, scored, horizon, quarter }: Props) {
  const inside = horizon < HOURLY;
  const again = inside ? quarter : scored?.predicted_for ?? null;
  const { data, failed } = useAnswer<AccuracyAnswer>("/api/accuracy", { coin, model_name: model, days: DAYS, ...horizonQuery(horizon) }, again);
  return (
    <section className="record" aria-labelledby="record">
      <h2 id="record">Is it better than assuming no change?</h2>
      {data ? <Verdict score={data.accuracy} horizon={horizon} /> : failed ? <p role="status">The record cannot be looked up just now.</p> : <Loading what="the record" />}
      {data && data.accuracy.n > 0 && <ul className="coverage">{inside && <Inside score={data.accuracy} />}<Coverage score={data.accuracy} horizon={horizon} /></ul>}
      {scored && !inside && <Latest scored={scored} />}
      {data && <DayBars days={data.accuracy.by_day.slice(-DRAWN)} unit={unitOf(horizon)} />}
      <h3>{inside ? "The model in use, and no change" : "Every model"}</h3>
      <div className="scroll" tabIndex={0} role="region" aria-label="Record of every model">
        <table>
          <thead>
            <tr>
              <th scope="col">Model</th><th scope="col">{inside ? "Forecasts" : "Hours"} scored</th><th scope="col">Mean error</th><th scope="col">“No change”</th>
              <th scope="col">Ratio</th>{inside && <th scope="col">Ratio as issued</th>}<th scope="col">Ratio in backtest</th><th scope="col">50 % held</th><th scope="col">90 % held</th><th scope="col">90 % in backtest</th>
            </tr>
          </thead>
          <tbody>{(inside ? IN_USE : kinds(models)).map((kind) => <ModelRow key={`${coin} ${kind}`} coin={coin} model={kind} horizon={horizon} again={again} />)}</tbody>
        </table>
      </div>
      <p className="quiet">
        A ratio below 1 means smaller errors than assuming no change, in the same {unitOf(horizon)}s. Only forecasts that were made before {inside ? "their time" : "their hour was over"} count, each
        scored by the price that came, whichever version of the model made it.
        {inside && " For the ratio as issued, “no change” starts from the last trade at the moment when the forecast was issued, which is later than the close that the model knows."}
      </p>
      <Retraining coin={coin} horizon={horizon} />
    </section>
  );
});

/** The answer in a sentence, as careful as the number of hours asks for. */
function Verdict({ score, horizon }: { score: Accuracy; horizon: number }) {
  const found = verdict(score, horizon), unit = unitOf(horizon), inside = horizon < HOURLY;
  const name = modelName(score.model), amount = `${Math.abs(found.percent).toFixed(1)} %`;
  if (found.kind === "none") {
    return (
      <p className="verdict">
        Nothing to judge yet: no forecast for {coinName(score.coin)} by {name} {inside && `for ${horizon} minutes ahead `}has been scored.{" "}
        {inside ? `A forecast is recorded at each quarter of the hour and scored ${horizon} minutes later.` : "A forecast is recorded when its hour begins and scored when it is over."}
      </p>
    );
  }
  const error = (value: number | null) => money(value ?? 0, score.coin, score.mae, score.mae_persistence);
  const many = `${plural(score.n, unit)}${score.since ? ` since ${day(score.since)}` : ""}`;
  const errors = <>Over {many} it was off by {error(score.mae)} on average, “no change” by {error(score.mae_persistence)}</>;
  if (found.kind === "reference") {
    return <p className="verdict">This <em>is</em> assuming no change. Over {many} it was off by {error(score.mae)} on average; choose another model to compare.</p>;
  }
  if (found.kind === "untested") {
    return (
      <p className="verdict">
        <strong>Errors {amount} {found.percent >= 0 ? "smaller" : "larger"}.</strong> {errors}. Neighbouring forecasts for {horizon} minutes ahead look partly at the
        same minutes, so that no test tells skill from luck here.
      </p>
    );
  }
  if (found.kind === "early") {
    return (
      <p className="verdict">
        <strong>Too early to say.</strong> {errors}: {amount} {found.percent >= 0 ? "better" : "worse"}. <Chance score={score} horizon={horizon} />
      </p>
    );
  }
  const words = { better: `Yes, by ${amount}.`, same: "No difference that shows.", worse: `No: ${amount} worse.` }[found.kind];
  return (
    <p className={`verdict ${found.kind}`}>
      <strong>{words}</strong> {errors}.{score.direction !== null && ` The direction was right in ${percent(score.direction)} of the ${inside ? "moves" : "hours that moved"}.`} <Chance score={score} horizon={horizon} />
    </p>
  );
}

/** What luck alone would have done in as many hours. */
function Chance({ score, horizon }: { score: Accuracy; horizon: number }) {
  const { n, luck, dm_t: t } = score;
  if (!luck || t == null) return <>{score.mase === 1 ? "Each forecast was “no change” too." : `So few ${unitOf(horizon)}s cannot tell skill from luck.`}</>;
  return (
    <>
      By luck alone the ratio of the two lies between {ratio(luck.mase_low)} and {ratio(luck.mase_high)} in {percent(luck.share, 0)} of such records; here it
      is {ratio(score.mase)} (Diebold–Mariano t {signed(t, 2)}).
      {hoursOf(n, horizon) < luck.hours_for_one_percent && ` Telling an advantage of one percent from luck takes about ${plural(luck.hours_for_one_percent, "hour")}.`}
    </>
  );
}

/** What is known of forecasts inside the hour alone: what lateness cost, how late they were, and how much of the model is used. */
function Inside({ score: { mase, mase_as_issued: issued, lateness, size } }: { score: Accuracy }) {
  const used = sizeWords(size);
  return (
    <>
      {mase !== null && issued !== null && (
        <li>The ratio of the errors is <strong>{ratio(mase)}</strong> against the close that the forecast was made from, and <strong>{ratio(issued)}</strong> against the price when it was issued.</li>
      )}
      {lateness !== null && <li>Half of the forecasts were issued within <strong>{secondsWords(lateness)}</strong> of the close.</li>}
      {used && <li>{used}</li>}
    </>
  );
}

/** Whether the intervals keep their word. */
function Coverage({ score, horizon }: { score: Accuracy; horizon: number }) {
  const n = independent(score.n, horizon), unit = unitOf(horizon);
  const line = (level: number, share: number | null) => {
    const expected = expectedCoverage(level, n);
    const word = coverageWord(share, level, n);
    return (
      <li>
        The {percent(level, 0)} interval held <strong>{percent(share)}</strong> of the prices
        {expected ? <> ({percent(expected.low, 0)} to {percent(expected.high, 0)} would be normal for so many {unit}s): {word}.</> : <>; too few {unit}s to judge it.</>}
      </li>
    );
  };
  return <>{line(0.5, score.coverage_50)}{line(0.9, score.coverage_90)}</>;
}

/** The hour that has just been scored; announced, because it comes by itself. */
function Latest({ scored }: { scored: ScoredForecast }) {
  const { coin, actual_price, abs_error, persistence_error } = scored;
  const compared = abs_error < persistence_error ? "closer than" : abs_error > persistence_error ? "further off than" : "as close as";
  return (
    <p className="latest" role="status">
      Just scored: for {clock(scored.predicted_for)} UTC {modelName(scored.model)} said {money(scored.predicted_price, coin, actual_price)}, and {money(actual_price, coin, scored.predicted_price)} came.
      Off by {moneyDifference(abs_error, coin, [scored.predicted_price, actual_price])}, {compared} “no change”, {scored.inside_90 ? "within" : "outside"} the 90 % interval.
    </p>
  );
}

function ModelRow({ coin, model, horizon, again }: { coin: string; model: string; horizon: number; again: unknown }) {
  const { data } = useAnswer<AccuracyAnswer>("/api/accuracy", { coin, model_name: model, days: DAYS, ...horizonQuery(horizon) }, again);
  const score = data?.accuracy;
  const amount = (value: number | null | undefined) => (value == null ? "–" : money(value, coin, score?.mae, score?.mae_persistence));
  return (
    <tr>
      <th scope="row">{modelName(score && model === "champion" ? score.model : model)}</th>
      <td>{score ? count(score.n) : "…"}</td>
      <td>{amount(score?.mae)}</td>
      <td>{amount(score?.mae_persistence)}</td>
      <td>{ratio(score?.mase)}</td>
      {horizon < HOURLY && <td>{ratio(score?.mase_as_issued)}</td>}
      <td>{ratio(score?.backtest.mase)}</td>
      <td>{percent(score?.coverage_50)}</td>
      <td>{percent(score?.coverage_90)}</td>
      <td>{percent(score?.backtest.coverage_90)}</td>
    </tr>
  );
}

/** When the models were last retrained, what they know, and what happened last. */
function Retraining({ coin, horizon }: { coin: string; horizon: number }) {
  const { data } = useAnswer<Models>("/api/models", horizonQuery(horizon));
  const info = data?.models.find((one) => one.coin === coin);
  if (!info) return null;
  const happened = whatHappened(info), until = learnedUntil(info);
  return (
    <>
      <h3>Retraining</h3>
      {info.last_retrained
        ? <p>Last retrained on {day(info.last_retrained)}, at {clock(info.last_retrained)} UTC.{until && ` The champion learned from data until ${day(until)}, at ${clock(until)} UTC.`}</p>
        : <p>No model has been trained on these prices yet, so “no change” answers.</p>}
      {happened && <p>{happened.words}</p>}
      {happened && happened.reasons.length > 0 && <ul>{happened.reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul>}
      {Object.entries(info.faults).map(([version, fault]) => <p key={version}>Version {version} is kept out: {fault}</p>)}
    </>
  );
}
