import { useEffect, useReducer, useRef, useState } from "react";
import { address, ask, AwayError, ProblemError, type HistoryAnswer, type Path, type PathAnswer, type Prediction, type PredictionAnswer, type PriceTick, type ScoredForecast } from "./api";
import type { Choice } from "./choice";
import { merged, newer, readPath, withPrice, type PriceAt } from "./path";

/** Everything the page knows of the forecast a reader chose. */
export interface Live {
  prediction: Prediction | null;
  /** When it was received, by a clock that nobody sets (`performance.now`) */
  receivedAt: number;
  tick: PriceTick | null;
  problem: ProblemError | null;
  /** The service itself cannot be reached */
  away: boolean;
  /** The stream is open; false for past hours, which need none */
  streaming: boolean;
  scored: ScoredForecast | null;
  /** The last path that the stream brought */
  path: Path | null;
}

const NOTHING: Live = { prediction: null, receivedAt: 0, tick: null, problem: null, away: false, streaming: false, scored: null, path: null };
const POLL = 30_000, MINUTE = 60_000;
/** Of the trades of ten seconds the last one is drawn. */
const CELL = 10_000;

/** What to wait before asking again, in milliseconds; null: never, the question itself is wrong. */
export function pause(error: unknown, failures: number): number | null {
  if (error instanceof ProblemError) {
    if (error.retryAfter !== null) return 1000 * Math.min(Math.max(error.retryAfter, 2), 60);
    return error.status >= 500 || error.status === 409 ? POLL : null;
  }
  return 1000 * Math.min(2 ** failures, 15);
}

/** A forecast is final once its price is known; until then it is asked for again. */
export const isFinal = (prediction: Prediction): boolean => prediction.actual_price !== null;

/**
 * Follow a forecast. Asking says what is wrong in words, and notices that data have become stale; the stream brings prices and new hours
 * at once. Each covers for the other: the stream begins after the first answer, and a stream that breaks makes the page ask.
 */
export function useForecast(choice: Choice): Live {
  const [live, setLive] = useState<Live>(NOTHING);
  const wake = useRef<() => void>(() => {});
  const { coin, time, model } = choice;
  const followed = time === "now";

  useEffect(() => {
    const stop = new AbortController();
    setLive(NOTHING);
    if (coin) void poll();
    return () => stop.abort();

    async function poll() {
      for (let failures = 0; !stop.signal.aborted; ) {
        let wait: number | null = POLL;
        try {
          const { prediction } = await ask<PredictionAnswer>("/api/predict", { coin, time_from: time, model_name: model }, stop.signal);
          failures = 0;
          setLive((old) => ({ ...old, prediction, receivedAt: performance.now(), problem: null, away: false }));
          if (!followed && isFinal(prediction)) wait = null;
        } catch (error) {
          if (stop.signal.aborted) return;
          failures += 1;
          wait = pause(error, failures);
          const away = error instanceof AwayError;
          setLive((old) => ({ ...old, away, problem: error instanceof ProblemError ? error : null }));
        }
        if (wait === null) return;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, wait);
          wake.current = () => (clearTimeout(timer), resolve());
        });
      }
    }
  }, [coin, time, model, followed]);

  const answered = live.prediction !== null;
  useEffect(() => {
    if (!followed || !answered) return;
    let source: EventSource, timer: ReturnType<typeof setTimeout>, refusals = 0;
    const open = () => {
      source = new EventSource(address("/api/stream", { coin, model_name: model }));
      source.onopen = () => {
        refusals = 0;
        setLive((old) => ({ ...old, streaming: true }));
        wake.current();
      };
      source.onerror = () => {
        setLive((old) => ({ ...old, streaming: false, tick: null }));
        wake.current();
        // A browser comes back by itself to a server that was lost, but never to one that refused (too many readers, just starting).
        if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, 1000 * Math.min(2 ** ++refusals, 30));
      };
      const hear = <T,>(name: string, take: (data: T) => void) =>
        source.addEventListener(name, (event) => take(JSON.parse((event as MessageEvent<string>).data) as T));
      hear<PriceTick>("price", (tick) => setLive((old) => ({ ...old, tick })));
      hear<ScoredForecast>("scored", (scored) => setLive((old) => ({ ...old, scored })));
      hear<unknown>("path", (data) => setLive((old) => ({ ...old, path: newer(old.path, readPath(data)) })));
      hear<PredictionAnswer>("forecast", ({ prediction }) => setLive((old) => ({ ...old, prediction, receivedAt: performance.now(), problem: null, away: false })));
    };
    open();
    return () => (clearTimeout(timer), source.close());
  }, [coin, model, followed, answered]);

  return live;
}

/** The service's own clock now: its time when it answered, and what has passed since. */
export const serviceNow = (live: Live, now: number): number => Date.parse(live.prediction?.request_time ?? "") + (now - live.receivedAt);

export interface Answered<T> {
  data: T | null;
  failed: boolean;
  /** What the service refused, where it did */
  problem: ProblemError | null;
}

/** Ask for something and keep it current: again whenever `again` changes, and after failures until it comes. */
export function useAnswer<T>(path: string | null, query: Record<string, string>, again: unknown = null): Answered<T> {
  const [state, setState] = useState<Answered<T> & { key: string }>({ data: null, failed: false, problem: null, key: "" });
  const key = `${path}?${new URLSearchParams(query)}`;
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const attempt = (failures: number) =>
      ask<T>(path, Object.fromEntries(new URLSearchParams(key.slice(path.length + 1))), stop.signal)
        .then((data) => setState({ data, failed: false, problem: null, key }))
        .catch((error: unknown) => {
          if (stop.signal.aborted) return;
          setState((old) => ({ data: old.key === key ? old.data : null, failed: true, problem: error instanceof ProblemError ? error : null, key }));
          const wait = pause(error, failures + 1);
          if (wait !== null) timer = setTimeout(() => void attempt(failures + 1), wait);
        });
    void attempt(0);
    return () => (stop.abort(), clearTimeout(timer));
  }, [path, key, again]);
  return state.key === key ? state : { data: null, failed: false, problem: null };
}

/** The path of a coin. It is asked for at the start, whenever the stream opens or breaks, and each minute without a stream, which brings the rest. */
export function usePath(coin: string | null, live: Live): { path: Path | null; problem: ProblemError | null } {
  const [path, hear] = useReducer(newer, null);
  const minute = useTurns(live.streaming || coin === null ? null : MINUTE);
  const { data, problem } = useAnswer<PathAnswer>(coin === null ? null : "/api/path", { coin: coin ?? "" }, `${live.streaming} ${minute}`);
  useEffect(() => hear(readPath(data?.path)), [data]);
  useEffect(() => hear(live.path), [live.path]);
  return { path: path?.coin === coin ? path : null, problem };
}

/** A number that goes up after every `pause` milliseconds; it stands still while that is null. */
function useTurns(pause: number | null): number {
  const [turn, next] = useReducer((old: number) => old + 1, 0);
  useEffect(() => {
    if (pause === null) return;
    const timer = setInterval(next, pause);
    return () => clearInterval(timer);
  }, [pause]);
  return turn;
}

/** Prices of a coin since `span` milliseconds before its path: closes of quarters from the record, closes of minutes from paths, and trades from the stream. */
export function useRecentPrices(path: Path, horizon: number, tick: PriceTick | null, span: number): readonly PriceAt[] {
  const { coin, data_until, current_price } = path;
  const [heard, hear] = useReducer(withHeard, []);
  const since = Date.parse(data_until) - span;
  useEffect(() => hear({ coin, time: Date.parse(data_until), price: current_price, since }), [coin, data_until, current_price, since]);
  useEffect(() => { if (tick?.coin === coin) hear({ coin, time: Date.parse(tick.time), price: tick.price, since }); }, [coin, tick, since]);
  const { data } = useAnswer<HistoryAnswer>("/api/history", { coin, horizon: String(horizon), hours: "1" });
  const before = data?.history.prices.map(({ time, close }) => ({ time: Date.parse(time), price: close })) ?? [];
  return merged(heard.filter((one) => one.coin === coin), before);
}

type Heard = PriceAt & { coin: string };
const withHeard = (old: readonly Heard[], { since, ...next }: Heard & { since: number }): readonly Heard[] =>
  withPrice(old.filter((one) => one.coin === next.coin), next, since, CELL);
