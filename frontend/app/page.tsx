import { Suspense } from "react";
import { ForecastPage } from "@/components/ForecastPage";
import { Loading } from "@/components/Notices";
import { address } from "@/lib/api";

export default function Page() {
  return (
    <>
      <Suspense fallback={<Loading what="the forecast" tall />}>
        <ForecastPage />
      </Suspense>
      <noscript>
        <p className="notice">Forecasts arrive by JavaScript, which is switched off here. Programs can read them at <a href={address("/docs")}>/docs</a>, and <a href="/how/">how it works</a> can be read without it.</p>
      </noscript>
    </>
  );
}
