import type { components } from "./api-types";

type Schemas = components["schemas"];
export type Prediction = Schemas["PredictionResult"];
export type PredictionAnswer = Schemas["PredictionAnswer"];
export type PriceTick = Schemas["PriceTick"];
export type ScoredForecast = Schemas["ScoredForecast"];
export type Accuracy = Schemas["Accuracy"];
export type AccuracyAnswer = Schemas["AccuracyAnswer"];
export type History = Schemas["History"];
export type HistoryAnswer = Schemas["HistoryAnswer"];
export type ToldForecast = Schemas["RecordedForecast"];
export type Path = Schemas["Path"];
export type PathPoint = Schemas["PathPoint"];
export type PathAnswer = Schemas["PathAnswer"];
export type DayScore = Schemas["DayScore"];
export type Coins = Schemas["Coins"];
export type CoinInfo = Schemas["CoinInfo"];
export type Models = Schemas["Models"];
export type ModelInfo = Schemas["ModelInfo"];

/** The service answered, and said what is wrong (RFC 9457). */
export class ProblemError extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    detail: string,
    readonly retryAfter: number | null,
  ) {
    super(detail);
  }
}

/** Nobody answered, or somebody who is not the service: a proxy's error page, a login of a train's wireless. */
export class AwayError extends Error {}

const BASE = (process.env.NEXT_PUBLIC_API_URL ?? "").replace(/\/$/, "");

export function address(path: string, query: Record<string, string> = {}): string {
  const words = new URLSearchParams(query).toString();
  return `${BASE}${path}${words && `?${words}`}`;
}

/** Ask the service; throws `ProblemError` for what it refuses, `AwayError` where it cannot be had. */
export async function ask<T>(path: string, query: Record<string, string>, signal: AbortSignal): Promise<T> {
  let response: Response;
  try {
    // Ten seconds: a connection that is accepted and never answered counts as away too.
    response = await fetch(address(path, query), { signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]), cache: "no-store" });
  } catch (error) {
    if (signal.aborted) throw error;
    throw new AwayError("The service cannot be reached.");
  }
  const body: unknown = await response.json().catch(() => null);
  if (signal.aborted) throw signal.reason;
  if (response.ok && body !== null) return body as T;
  if (isProblem(body)) throw new ProblemError(response.status, body.title, body.detail, seconds(response.headers.get("retry-after")));
  throw new AwayError("Something answered that is not the service.");
}

function isProblem(body: unknown): body is { title: string; detail: string } {
  return typeof body === "object" && body !== null && "title" in body && "detail" in body && typeof body.title === "string" && typeof body.detail === "string";
}

/** A Retry-After header in seconds; its other form, a date, is not what the service sends. */
function seconds(header: string | null): number | null {
  const value = Number(header);
  return header !== null && Number.isFinite(value) && value >= 0 ? value : null;
}
