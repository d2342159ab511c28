import Head from "next/head";
import { Figure, ResearchTable } from "@/components/Research";
import { cell, tables, type Table } from "@/lib/research";

const MODELS = { persistence: "No change", ensemble: "Ensemble", lightgbm: "LightGBM", cnn: "CNN", lstm: "LSTM", lasso: "Lasso" };
const SCORES = { mae: "Mean error, $", mase: "Ratio", dm_t: "DM t", direction: "Sign right", coverage_50: "50 % held", coverage_90: "90 % held" };
const PUBLISHED = {
  "published: Lasso": "Published: Lasso", "published: CNN": "Published: CNN",
  "their recipe here: CNN on the price": "That recipe, run here: CNN", "their recipe here: Lasso on the price": "That recipe, run here: Lasso",
  "ours: cnn": "Ours: CNN", "ours: ensemble": "Ours: ensemble", "ours: lasso": "Ours: Lasso", "ours: lightgbm": "Ours: LightGBM", "ours: lstm": "Ours: LSTM",
  persistence: "No change",
};

function Scores({ table }: { table: Table }) {
  return <ResearchTable table={table} label={table.name.replace("binance", "Binance").replace("coinbase", "Coinbase")} columns={SCORES} rows={MODELS} />;
}

export default function How() {
  const coinbase = tables.backtest.find((table) => table.name === "coinbase: BTC-USD");
  const money = tables.money[0];
  return (
    <article className="prose">
      <Head>
        <title>How it works · crypto_rti</title>
        <meta name="description" content="The candles, the features, the models, what they are worth, and what they are not good for." />
      </Head>
      <h1>How it works</h1>
      <p className="lead">
        Every hour, a few models say where a coin’s price will be when the next hour ends, and how far off they may be. Each forecast is written down
        before its hour is over and scored when it is. The measure is a rival that costs nothing: the claim that the price stays where it is.
      </p>

      <h2 id="rival">The rival that knows nothing</h2>
      <p>
        A forecast of Bitcoin that misses by sixty dollars sounds good, until one asks what saying “no change” would have missed by. On hourly prices that
        rival is hard to beat: a price is its last value plus a move that is nearly noise. An earlier project of this kind published errors that looked small
        and were larger than those of “no change”, which was not in its table. Here is that table with the missing row, in dollars, on the same hours:
      </p>
      <ResearchTable table={tables.published[0]!} label="Mean absolute error" columns={{ "BTC-USDT": "Bitcoin", "ETH-USDT": "Ethereum" }} rows={PUBLISHED} />
      <Figure name="saved" wide
        alt="Lines that rise from zero over the test hours: the error each model saved against no change, added up, for Bitcoin and Ethereum."
        caption="What each model saved against “no change”, added up hour by hour on hours it had not seen. Knowing nothing wanders around zero; these rise." />

      <h2 id="data">From trades to features</h2>
      <p>
        The raw material is hourly candles of the Coinbase Exchange: first, highest, lowest and last price, and volume. Only closed hours count. An hour in
        which nobody traded stays absent, because filling it would invent a price. Prices of different exchanges are never mixed in one series.
      </p>
      <p>
        From the last 24 hours and the hour just closed come 68 numbers: the 24 prices and 24 volumes, the candle itself, three signals of the clock, the candle’s
        shadows, means and deviations of price and volume, returns over 2 to 24 hours, and the relative strength index. They are then freed of their scale. Prices
        become moves in units of recent volatility, volumes multiples of their mean, so that one model serves every coin at any price. Whatever the scaling has to learn is learned
        from training hours alone, and one function computes a feature in training and in service.
      </p>
      <Figure name="groups"
        alt="A chart of the error relative to no change when the model is given only one group of features: clock and volumes alone reach nothing, the last 24 prices most of the skill."
        caption="The model given one group of features and nothing else. The last prices carry most of what can be known; clock and volume alone carry nothing." />

      <h2 id="models">Asking a better question</h2>
      <p>
        Most published forecasters minimise squared error, so they forecast a mean; and means of hourly moves belong to a few wild hours. Ours forecast
        the <em>median</em> of the next move in units of volatility, and with it the quantiles around it. The next hour is usually a small step back and now and
        then a large step on. A mean lets the second cancel the first; a median does not.
      </p>
      <Figure name="median"
        alt="Median and mean of the next return in fifteen groups of the last hour's move. The median leans against the last move; the mean stays near zero."
        caption="The next move after fifteen kinds of last move, on all coins before 2022. The median leans against the last move; the mean does not." />
      <p>
        Four kinds of model do this: Lasso (linear), LightGBM (trees), a convolutional and a recurrent network (CNN, LSTM); an ensemble weighs the linear
        model and the trees. Each is pulled toward “no change” by a factor chosen on hours that it did not learn from, so that a model that knows nothing does no harm.
      </p>

      <h2 id="results">What they are worth</h2>
      <p>
        The strictest test: models that only ever learned from one exchange (Binance), judged hour by hour on another (Coinbase, May 2024 to March 2025), with
        no setting chosen on those hours. (That a median works at all was known from a trial on other prices of overlapping years.) On Bitcoin the ensemble’s error is {cell(coinbase, "ensemble", "mase")} of that of “no change”. The Diebold–Mariano
        statistic says whether such a difference may be luck: below −1.64 it hardly is, and here it is {cell(coinbase, "ensemble", "dm_t").replace("-", "−")}.
      </p>
      {coinbase && <Scores table={coinbase} />}
      <details>
        <summary>The same for other coins, and for Binance from 2022 on</summary>
        {tables.backtest.filter((table) => table !== coinbase).map((table) => <Scores key={table.name} table={table} />)}
      </details>

      <h2 id="intervals">Intervals that keep their word</h2>
      <p>
        How far a price will move is far easier to foresee than in which direction. An interval of 90 % should hold nine of ten prices: in calm weeks by being
        narrow, in wild ones by being wide. The quantiles give its shape; each closed hour then corrects its width a little (adaptive conformal
        prediction), so that it keeps its word even while the market changes.
      </p>
      <Figure name="calibration" wide
        alt="Five panels, one for each exchange and coin. The share of prices below each forecast quantile lies on the diagonal."
        caption="How often prices ended below each forecast quantile. On the diagonal the intervals mean what they say." />
      <Figure name="coverage" wide
        alt="Coverage of the 90 percent interval in every four weeks, by model, for each exchange and coin: between about 88 and 93 percent."
        caption="Coverage of the intervals, four weeks at a time." />

      <h2 id="retraining">Keeping up</h2>
      <p>
        Models are trained anew on a schedule. A challenger takes over only when a test on hours that nobody learned from does not find it worse than
        “no change” or than the champion, and when its 90 % interval is off by no more than two points. Otherwise it is turned down, and the front page says why. “No change” was the
        first champion, so that something honest always answers. Skill fades slowly: half a year costs at most a tenth of it.
      </p>
      <Figure name="decay"
        alt="The cost of a model's age on the same hours, rising slowly from zero at three months to eighteen months."
        caption="What a model’s age costs, on the same hours, in thousandths of the error of “no change”." />

      <h2 id="delivery">From notebook to this page</h2>
      <ol className="flow">
        <li>Notebooks hold the code, its explanation and its tests; the library is exported from them.</li>
        <li>A pipeline of four notebooks fetches candles, builds features, trains, and promotes or refuses; each executed copy is kept as a report.</li>
        <li>A promoted model becomes a bundle: the network or trees as ONNX, a manifest, and a hash of every file. The service verifies the hashes and runs no code out of it.</li>
        <li>Every change is tested. Then the service is built into images for two kinds of processor.</li>
        <li>A webhook tells the machine that serves, which takes the new image and goes on.</li>
        <li>The service answers, streams, and writes every forecast down before its hour is over; a ledger scores them.</li>
      </ol>

      <h2 id="limits">Limits</h2>
      <ul>
        <li>
          <strong>It does not pay.</strong> On Bitcoin at Coinbase, following the forecast’s sign earned {cell(money, "earned an hour, bps", "coinbase: BTC-USD")} basis points an hour
          before fees. The cheapest round trip costs about ten, a small customer’s 180; no forecast there ever promised 180. The advantage is real, about one percent of the error, and it is not a way to make money.
        </li>
        <li>The direction is right a little more often than not: in {(100 * Number(cell(coinbase, "ensemble", "direction"))).toFixed(1)} % of hours. Most single forecasts say next to nothing about direction.</li>
        <li>Intervals hold on average over weeks. In the hours after a shock they are too narrow until they have caught up.</li>
        <li>Nothing but past prices and volumes of a few coins is known here. News, order books and other markets are not.</li>
        <li>The past years may not be like the next ones. That is why live results stand on the front page, beside what the backtest promised.</li>
      </ul>

      <h2 id="disclaimer">Disclaimer</h2>
      <p>
        This is a research project. Nothing on these pages is financial advice or an offer, and nobody answers for losses of those who act on it. Prices come from public
        data and may be late or wrong. Where the market is simulated, the page says so at its top, and the numbers mean nothing outside of it.
      </p>
    </article>
  );
}
