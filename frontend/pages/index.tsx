import Head from "next/head";
import { ForecastPage } from "@/components/ForecastPage";
import { address } from "@/lib/api";

export default function Page() {
  return (
    <>
      <Head>
        <title>crypto_rti: the next hour, with an honest interval</title>
        <meta name="description" content="A forecast of where a coin’s price will be in an hour, how sure it is, and how right it has been." />
      </Head>
      {/* Stands in the file itself: something to read while the forecast is asked for. */}
      <p className="lead">
        Where will the price be in an hour? A model’s best guess, the range it is sure of, and, further down, how right it has been so far, held against
        the plainest guess of all: no change.
      </p>
      <ForecastPage />
      <noscript>
        <p className="notice">Forecasts arrive by JavaScript, which is switched off here. Programs can read them at <a href={address("/docs")}>/docs</a>, and <a href="/how/">how it works</a> can be read without it.</p>
      </noscript>
    </>
  );
}
