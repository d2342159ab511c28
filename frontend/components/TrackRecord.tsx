"use client";
import { memo } from "react";
import type { Accuracy, AccuracyAnswer, Models, ScoredForecast } from "@/lib/api";
import { clock, coinName, count, day, modelName, money, percent, plural, ratio } from "@/lib/format";
import { useAnswer } from "@/lib/live";
import { coverageWord, expectedCoverage, HOURS_TO_TELL, kinds, verdict } from "@/lib/record";
import { DayBars } from "./DayBars";
import { Loading } from "./Notices";

const DAYS = 30;

interface Props {
  coin: string;
  model: string;
  models: readonly string[];
  /** The newest hour that was scored; what is shown is asked for again then */
  scored: ScoredForecast | null;
}

/** How right the forecasts have been that were really made beforehand, and what became of retraining. */
export const TrackRecord = memo(function TrackRecord({ coin, model, models, scored }: Props) {
  const hour = scored?.predicted_for ?? null;
  const { data, failed } = useAnswer<AccuracyAnswer>("/api/accuracy", { coin, model_name: model, days: String(DAYS) }, hour);
  return (
    <section className="record" aria-labelledby="record">
      <h2 id="record">Is it better than assuming no change?</h2>
      {data ? <Verdict score={data.accuracy} /> : failed ? <p role="status">The record cannot be looked up just now.</p> : <Loading what="the record" />}
      {data && data.accuracy.n > 0 && <Coverage score={data.accuracy} />}
      {scored && <Latest scored={scored} />}
      {data && <DayBars days={data.accuracy.by_day} />}
      <h3>Every model, last {DAYS} days</h3>
      <div className="scroll" tabIndex={0} role="region" aria-label="Record of every model">
        <table>
          <thead>
            <tr>
              <th scope="col">Model</th><th scope="col">Hours scored</th><th scope="col">Mean error</th><th scope="col">“No change”</th>
              <th scope="col">Ratio</th><th scope="col">Ratio in backtest</th><th scope="col">50 % held</th><th scope="col">90 % held</th><th scope="col">90 % in backtest</th>
            </tr>
          </thead>
          <tbody>{kinds(models).map((kind) => <ModelRow key={`${coin} ${kind}`} coin={coin} model={kind} hour={hour} />)}</tbody>
        </table>
      </div>
      <p className="quiet">
        A ratio below 1 means smaller errors than assuming no change, in the same hours. Only forecasts that were made before their hour was over count, each
        scored by the price that came, whichever version of the model made it.
      </p>
      <Retraining coin={coin} />
    </section>
  );
});

/** The answer in a sentence, as careful as the number of hours asks for. */
function Verdict({ score }: { score: Accuracy }) {
  const found = verdict(score);
  const name = modelName(score.model), amount = `${Math.abs(found.percent).toFixed(1)} %`;
  if (found.kind === "none") {
    return <p className="verdict">Nothing to judge yet: no forecast for {coinName(score.coin)} by {name} has been scored. A forecast is recorded when its hour begins and scored when it is over.</p>;
  }
  const hours = `${plural(score.n, "hour")}${score.since ? ` since ${day(score.since)}` : ""}`;
  const errors = <>Over {hours} it was off by {money(score.mae ?? 0, score.coin)} on average, “no change” by {money(score.mae_persistence ?? 0, score.coin)}</>;
  if (found.kind === "reference") {
    return <p className="verdict">This <em>is</em> assuming no change. Over {hours} it was off by {money(score.mae ?? 0, score.coin)} on average; choose another model to compare.</p>;
  }
  if (found.kind === "early") {
    return (
      <p className="verdict">
        <strong>Too early to say.</strong> {errors}: {amount} {found.percent >= 0 ? "better" : "worse"}. The expected advantage is about one percent, and telling that
        from luck takes some {count(HOURS_TO_TELL)} hours ({Math.round(HOURS_TO_TELL / 24)} days).
      </p>
    );
  }
  const words = { better: `Yes, by ${amount}.`, same: "No difference that shows.", worse: `No: ${amount} worse.` }[found.kind];
  return <p className={`verdict ${found.kind}`}><strong>{words}</strong> {errors}.{score.direction !== null && ` The direction was right in ${percent(score.direction)} of the hours that moved.`}</p>;
}

/** Whether the intervals keep their word. */
function Coverage({ score }: { score: Accuracy }) {
  const line = (level: number, share: number | null) => {
    const expected = expectedCoverage(level, score.n);
    const word = coverageWord(share, level, score.n);
    return (
      <li>
        The {percent(level, 0)} interval held <strong>{percent(share)}</strong> of the prices
        {expected ? <> ({percent(expected.low, 0)} to {percent(expected.high, 0)} would be normal for so many hours): {word}.</> : <>; too few hours to judge it.</>}
      </li>
    );
  };
  return <ul className="coverage">{line(0.5, score.coverage_50)}{line(0.9, score.coverage_90)}</ul>;
}

/** The hour that has just been scored; announced, because it comes by itself. */
function Latest({ scored }: { scored: ScoredForecast }) {
  const { coin, actual_price, abs_error, persistence_error } = scored;
  const compared = abs_error < persistence_error ? "closer than" : abs_error > persistence_error ? "further off than" : "as close as";
  return (
    <p className="latest" role="status">
      Just scored: for {clock(scored.predicted_for)} UTC {modelName(scored.model)} said {money(scored.predicted_price, coin, actual_price)}, and {money(actual_price, coin)} came.
      Off by {money(abs_error, coin, actual_price)}, {compared} “no change”, {scored.inside_90 ? "within" : "outside"} the 90 % interval.
    </p>
  );
}

function ModelRow({ coin, model, hour }: { coin: string; model: string; hour: string | null }) {
  const { data } = useAnswer<AccuracyAnswer>("/api/accuracy", { coin, model_name: model, days: String(DAYS) }, hour);
  const score = data?.accuracy;
  const amount = (value: number | null | undefined) => (value == null ? "–" : money(value, coin));
  return (
    <tr>
      <th scope="row">{modelName(model)}</th>
      <td>{score ? count(score.n) : "…"}</td>
      <td>{amount(score?.mae)}</td>
      <td>{amount(score?.mae_persistence)}</td>
      <td>{ratio(score?.mase)}</td>
      <td>{ratio(score?.backtest.mase)}</td>
      <td>{percent(score?.coverage_50)}</td>
      <td>{percent(score?.coverage_90)}</td>
      <td>{percent(score?.backtest.coverage_90)}</td>
    </tr>
  );
}

interface Decision {
  promoted?: unknown;
  kind?: unknown;
  version?: unknown;
  reasons?: unknown;
}

/** When the models were last retrained, and what became of the challenger. */
function Retraining({ coin }: { coin: string }) {
  const { data } = useAnswer<Models>("/api/models", {});
  const info = data?.models.find((one) => one.coin === coin);
  if (!info) return null;
  const decision = info.last_decision as Decision | null;
  const reasons = Array.isArray(decision?.reasons) ? decision.reasons.map(String) : [];
  const challenger = `${modelName(String(decision?.kind ?? "challenger"))}${decision?.version ? `, version ${String(decision.version)},` : ""}`;
  return (
    <>
      <h3>Retraining</h3>
      {info.last_retrained ? <p>Last retrained on {day(info.last_retrained)}, at {clock(info.last_retrained)} UTC.</p> : <p>No model has been trained on these prices yet, so “no change” answers.</p>}
      {decision && (decision.promoted
        ? <p>The challenger {challenger} passed the tests and was promoted.</p>
        : <p>The challenger {challenger} was turned down{reasons.length ? ":" : "."}</p>)}
      {decision && reasons.length > 0 && <ul>{reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul>}
      {Object.entries(info.faults).map(([version, fault]) => <p key={version}>Version {version} is kept out: {fault}</p>)}
    </>
  );
}
