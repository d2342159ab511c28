import { lazy, Suspense, useCallback, useEffect, useMemo, useState } from "react";
import type { CoinInfo, Coins } from "@/lib/api";
import { readChoice, writeChoice, type Choice } from "@/lib/choice";
import { coinName } from "@/lib/format";
import { goTo, useQuery } from "@/lib/address";
import { useAnswer, useForecast, usePath } from "@/lib/live";
import { HOURLY, hasPath, horizonsOf, settledQuarter } from "@/lib/path";
import { Answer } from "./Answer";
import { Choices } from "./Choices";
import { Horizons } from "./Horizons";
import { Near } from "./Near";
import { Loading, Notice, SimulatedBanner, Trouble } from "./Notices";
import { PathSection } from "./PathSection";
import { TrackRecord } from "./TrackRecord";

// The chart library is a quarter of the page's code and nobody needs it to read the answer. A line that breaks while it comes is no reason to go without:
// a failed import would be remembered for good, so that one that fails is tried until it succeeds.
const load = (): Promise<{ default: typeof import("./History").History }> =>
  import("./History").then(
    (module) => ({ default: module.History }),
    () => new Promise((resolve) => setTimeout(resolve, 3000)).then(load),
  );
const History = lazy(load);

// What is passed on stays the same object while nothing changes, so that a price every second does not draw the whole page anew.
const NONE: readonly CoinInfo[] = [];
const NO_MODELS: readonly string[] = [];
const choose = (next: Choice) => goTo(writeChoice(next));

export function ForecastPage() {
  const query = useQuery();
  const [hours, setHours] = useState<string | null>(null);
  const coins = useAnswer<Coins>("/api/coins", {}, hours);
  const listed = coins.data?.coins ?? NONE;
  const choice = useMemo(() => readChoice(query, listed), [query, listed]);
  const live = useForecast(choice);
  const now = useNow(10_000);
  // The forecast waits for the list of coins, which stands above it: what is there must not jump.
  const listKnown = coins.data !== null || coins.failed;
  const prediction = listKnown ? live.prediction : null;
  const info = listed.find((one) => one.coin === choice.coin);
  const { path, problem } = usePath(choice.time === "now" && hasPath(info) ? choice.coin : null, live);
  // A service that knows no path for this coin (404, 422) is one without the section.
  const followsPath = choice.time === "now" && hasPath(info) && (path !== null || !problem || problem.status >= 500 || problem.status === 409);
  const quarter = path && settledQuarter(path);
  const setHorizon = useCallback((horizon: number) => choose({ ...choice, horizon }), [choice]);

  // Each new hour moves what the list of hours offers.
  const until = choice.time === "now" ? prediction?.data_until ?? null : null;
  useEffect(() => { if (until) setHours(until); }, [until]);
  useEffect(() => { document.title = `${choice.coin ? `${coinName(choice.coin)}, ` : ""}the next hour · crypto_rti`; }, [choice.coin]);

  const source = prediction?.source ?? listed[0]?.source;
  const models = info?.models ?? NO_MODELS, horizons = horizonsOf(info);
  // Inside the hour the champion alone is on record, and what it is held against.
  const model = choice.horizon === HOURLY || choice.model === "persistence" ? choice.model : "champion";
  return (
    <>
      {source !== undefined && isSimulated(source) && <SimulatedBanner source={source} />}
      {coins.data && listed.length > 0 && <Choices coins={listed} choice={choice} onChoose={choose} />}
      {coins.data && listed.length === 0 && <Notice>No coin is served here yet.</Notice>}
      {coins.failed && !coins.data && !live.away && <Notice urgent>The service cannot be reached. This page keeps trying and goes on by itself.</Notice>}
      <Trouble live={live} now={now} />
      {prediction ? <Answer live={live} prediction={prediction} now={now} />
        : live.problem ? <Refusal problem={live.problem} coins={listed.map((one) => one.coin)} choice={choice} />
        // A key of its own once the choices stand above: a new line appears there, instead of the old one jumping down.
        : !live.away && !coins.failed && <Loading key={String(listKnown)} what="the forecast" tall />}
      {prediction && followsPath && <PathSection path={path} problem={problem} tick={live.tick} />}
      {prediction && horizons.length > 1 && <Horizons horizons={horizons} chosen={choice.horizon} onChoose={setHorizon} />}
      {prediction && (
        <Near before={<Loading what="the chart" tall />}>
          <Suspense fallback={<Loading what="the chart" tall />}>
            <History prediction={prediction} tick={live.tick} streaming={live.streaming} model={model} horizon={choice.horizon} followed={choice.time === "now"} quarter={quarter} />
          </Suspense>
        </Near>
      )}
      {prediction && <TrackRecord coin={choice.coin} model={model} models={models} scored={live.scored} horizon={choice.horizon} quarter={quarter} />}
    </>
  );
}

/** A coin, model or time that cannot be answered: what the service says, and where to go instead. */
function Refusal({ problem, coins, choice }: { problem: { title: string; message: string; status: number }; coins: string[]; choice: Choice }) {
  const elsewhere = coins.filter((coin) => coin !== choice.coin);
  return (
    <section className="refusal" role="alert">
      <h1>{problem.title}</h1>
      <p>{problem.message}</p>
      {problem.status === 404 && elsewhere.length > 0 && (
        <p>There is: {elsewhere.map((coin, index) => <span key={coin}>{index > 0 && ", "}<a href={writeChoice({ ...choice, coin, time: "now", model: "champion" })}>{coinName(coin)}</a></span>)}.</p>
      )}
      {problem.status !== 404 && choice.time !== "now" && <p><a href={writeChoice({ ...choice, time: "now" })}>Ask from now instead</a>.</p>}
      {problem.status >= 500 && <p>This page keeps trying and goes on by itself.</p>}
    </section>
  );
}

/** Sources that the project itself calls simulated (`sim`, and replays named after it). */
export const isSimulated = (source: string): boolean => /^sim/i.test(source);

function useNow(every: number): number {
  const [now, setNow] = useState(0);
  useEffect(() => {
    const look = () => setNow(performance.now());
    look();
    const timer = setInterval(look, every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
