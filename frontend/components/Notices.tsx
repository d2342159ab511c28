import type { ReactNode } from "react";
import { age } from "@/lib/format";
import type { Live } from "@/lib/live";

/** `tall` keeps the place of what is coming, so that nothing below it jumps. */
export function Loading({ what, tall = false }: { what: string; tall?: boolean }) {
  return <p className={tall ? "loading tall" : "loading"} role="status">Asking for {what} …</p>;
}

export function Notice({ children, urgent = false }: { children: ReactNode; urgent?: boolean }) {
  return <p className={urgent ? "notice urgent" : "notice"} role={urgent ? "alert" : "status"}>{children}</p>;
}

/** Nobody may take invented prices for real ones: this stays in sight however far one scrolls. */
export function SimulatedBanner({ source }: { source: string }) {
  return (
    <aside className="simulated" aria-label="Simulated market">
      <strong>Simulated market.</strong> The prices here come from “{source}” and were made by a computer: no real coin costs this.
    </aside>
  );
}

/** What stands between the reader and a current forecast, worst first; nothing when all is well. */
export function Trouble({ live, now }: { live: Live; now: number }) {
  const { prediction, problem, away } = live;
  if (away) {
    const last = prediction ? ` Below is the last answer, received ${age(now - live.receivedAt)} ago.` : "";
    return <Notice urgent>The service cannot be reached. This page keeps trying and goes on by itself.{last}</Notice>;
  }
  if (problem && !prediction) return null; // said in place of the forecast
  if (problem) return <Notice urgent>{problem.message} Below is the last answer.</Notice>;
  if (prediction?.stale) {
    return <Notice urgent>The exchange is away: later hours should be known by now, and are not. This forecast is built on what was known at the end of the last hour that came.</Notice>;
  }
  return null;
}
