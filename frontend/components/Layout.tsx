import type { ReactNode } from "react";
import { address } from "@/lib/api";

/** What stands above and below every page. */
export function Layout({ children }: { children: ReactNode }) {
  return (
    <>
      <a className="skip" href="#content">Skip to the content</a>
      <header className="top">
        {/* Plain links: two pages that share nothing gain nothing from a router. */}
        <a className="name" href="/">crypto_rti</a>
        <nav aria-label="Pages">
          <a href="/">Forecast</a>
          <a href="/how/">How it works</a>
          <a href={address("/docs")}>For programs</a>
        </nav>
      </header>
      <main id="content" tabIndex={-1}>{children}</main>
      <footer>
        <p>
          Nothing here is financial advice. The forecasts save about one percent of the error of assuming no change, and any trade costs more than that:{" "}
          <a href="/how/#limits">what they are not good for</a>.
        </p>
        <p>
          The chart is drawn with <a href="https://www.tradingview.com/">TradingView</a> Lightweight Charts™, © 2026 TradingView, Inc., Apache License 2.0. This page loads nothing from elsewhere, sets no cookies and counts nobody.
        </p>
      </footer>
    </>
  );
}
