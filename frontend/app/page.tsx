import { Suspense } from "react";
import { ForecastPage } from "@/components/ForecastPage";
import { Loading } from "@/components/Notices";
import { address } from "@/lib/api";

export default function Page() {
  return (
    <>
      {/* Stands in the file itself: something to read while the forecast is asked for. */}
      <p className="lead">
        Where will the price be in an hour? A model’s best guess, the range it is sure of, and, further down, how right it has been so far, held against
        the plainest guess of all: no change.
      </p>
      <Suspense fallback={<Loading what="the forecast" tall />}>
        <ForecastPage />
      </Suspense>
      <noscript>
        <p className="notice">Forecasts arrive by JavaScript, which is switched off here. Programs can read them at <a href={address("/docs")}>/docs</a>, and <a href="/how/">how it works</a> can be read without it.</p>
      </noscript>
    </>
  );
}
