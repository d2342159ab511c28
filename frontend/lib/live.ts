"use client";
import { useEffect, useRef, useState } from "react";
import { address, ask, AwayError, ProblemError, type Prediction, type PredictionAnswer, type PriceTick, type ScoredForecast } from "./api";
import type { Choice } from "./choice";

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
}

const NOTHING: Live = { prediction: null, receivedAt: 0, tick: null, problem: null, away: false, streaming: false, scored: null };
const POLL = 30_000;

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
      hear<PredictionAnswer>("forecast", ({ prediction }) => setLive((old) => ({ ...old, prediction, receivedAt: performance.now(), problem: null, away: false })));
    };
    open();
    return () => (clearTimeout(timer), source.close());
  }, [coin, model, followed, answered]);

  return live;
}

/** The service's own clock now: its time when it answered, and what has passed since. */
export const serviceNow = (live: Live, now: number): number => Date.parse(live.prediction?.request_time ?? "") + (now - live.receivedAt);

/** Ask for something and keep it current: again whenever `again` changes, and after failures until it comes. */
export function useAnswer<T>(path: string | null, query: Record<string, string>, again: unknown = null): { data: T | null; failed: boolean } {
  const [state, setState] = useState<{ data: T | null; failed: boolean; key: string }>({ data: null, failed: false, key: "" });
  const key = `${path}?${new URLSearchParams(query)}`;
  useEffect(() => {
    if (path === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const attempt = (failures: number) =>
      ask<T>(path, Object.fromEntries(new URLSearchParams(key.slice(path.length + 1))), stop.signal)
        .then((data) => setState({ data, failed: false, key }))
        .catch((error: unknown) => {
          if (stop.signal.aborted) return;
          setState((old) => ({ data: old.key === key ? old.data : null, failed: true, key }));
          const wait = pause(error, failures + 1);
          if (wait !== null) timer = setTimeout(() => void attempt(failures + 1), wait);
        });
    void attempt(0);
    return () => (stop.abort(), clearTimeout(timer));
  }, [path, key, again]);
  return state.key === key ? state : { data: null, failed: false };
}
