import { createChart, CrosshairMode, customSeriesDefaultOptions, LineSeries, LineStyle, type IChartApi, type ICustomSeriesPaneView, type IPriceLine, type ISeriesApi, type UTCTimestamp } from "lightweight-charts";
import { useEffect, useRef } from "react";
import type { PriceTick } from "@/lib/api";
import { bandAt, BandSeries, type Band, type BandOptions } from "@/lib/bands";
import { coinName, dayAndClock, moneyWith, priceDecimals } from "@/lib/format";
import { evenTimes, type Drawn, type Past, type Told } from "@/lib/history";

const stamp = (time: string | number) => Math.floor(new Date(time).getTime() / 1000) as UTCTimestamp;

interface Parts {
  chart: IChartApi;
  bands: ISeriesApi<"Custom", UTCTimestamp, Band>;
  fan: ISeriesApi<"Custom", UTCTimestamp, Band>;
  closes: ISeriesApi<"Line">;
  forecasts: ISeriesApi<"Line">;
  /** Nothing but times at even distances: the library counts points, not seconds */
  axis: ISeriesApi<"Line">;
  running: IPriceLine | null;
  /** What prices are multiplied by before they are drawn */
  unit: number;
}

interface Props {
  /** The forecast whose interval opens from the price it was made at */
  newest: Drawn;
  past: Past;
  tick: PriceTick | null;
  /** Seconds in sight before the time of the newest forecast */
  span: number;
  /** Seconds from one forecast of the past to the next */
  apart: number;
  /** Seconds of which every time in the chart is a multiple */
  step: number;
}

/** Prices, the intervals they were expected in, and the fan of the newest forecast. */
export function Chart({ newest, past, tick, span, apart, step }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const parts = useRef<Parts | null>(null);
  const { coin } = newest;

  useEffect(() => {
    const made = build(box.current!);
    parts.current = made;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const repaint = () => paint(made);
    dark.addEventListener("change", repaint);
    return () => {
      dark.removeEventListener("change", repaint);
      made.chart.remove();
      parts.current = null;
    };
  }, [coin]);

  useEffect(() => {
    if (parts.current) fill(parts.current, newest, past, apart, step);
  }, [newest, past, apart, step]);

  // Only a new hour or another span moves the view: a reader who has zoomed keeps what they look at.
  const target = newest.predicted_for, oldest = past.closes[0]?.time;
  useEffect(() => {
    if (!parts.current || oldest === undefined) return;
    const to = stamp(target);
    parts.current.chart.timeScale().setVisibleRange({ from: Math.max(stamp(oldest), to - span) as UTCTimestamp, to });
  }, [target, span, oldest, coin]);

  const price = tick?.price ?? null;
  useEffect(() => {
    if (parts.current) showRunning(parts.current, price);
  }, [price, newest]); // a new forecast may bring another unit

  return <div className="chart" ref={box} role="img" aria-label={`Chart of ${coinName(coin)}: prices, forecasts and intervals. The table below holds the same numbers.`} />;
}

function build(box: HTMLDivElement): Parts {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const chart = createChart(box, {
    autoSize: true,
    crosshair: { mode: CrosshairMode.Magnet },
    // The wheel scrolls the page, as everywhere; drag, pinch and the buttons above move the chart.
    handleScroll: { mouseWheel: false, vertTouchDrag: false },
    handleScale: { mouseWheel: false },
    kineticScroll: { touch: !calm, mouse: false },
    // The name stands in the page's footer: the library's own logo writes a style sheet, which our security policy refuses.
    layout: { attributionLogo: false, fontFamily: "system-ui, sans-serif", fontSize: 12 },
    rightPriceScale: { borderVisible: false },
    timeScale: { timeVisible: true, secondsVisible: false, borderVisible: false, rightOffset: 1, minBarSpacing: 0.05 },
    localization: { timeFormatter: (time: number) => `${dayAndClock(time * 1000)} UTC` },
  });
  const quiet = { lastValueVisible: false, priceLineVisible: false };
  const options: BandOptions = { ...customSeriesDefaultOptions, outer: "#888", inner: "#888", apart: 0 };
  const band = () => new BandSeries(options) as unknown as ICustomSeriesPaneView<UTCTimestamp, Band, BandOptions>;
  const made: Parts = {
    chart,
    bands: chart.addCustomSeries<Band, BandOptions>(band() as never, quiet) as unknown as Parts["bands"],
    fan: chart.addCustomSeries<Band, BandOptions>(band() as never, quiet) as unknown as Parts["fan"],
    forecasts: chart.addSeries(LineSeries, { ...quiet, lineVisible: false, pointMarkersVisible: true, pointMarkersRadius: 2, crosshairMarkerVisible: false }),
    closes: chart.addSeries(LineSeries, { ...quiet, lineWidth: 2, crosshairMarkerVisible: true }),
    axis: chart.addSeries(LineSeries, { ...quiet, lineVisible: false, crosshairMarkerVisible: false }),
    running: null,
    unit: 1,
  };
  paint(made);
  return made;
}

/** Take the page's colours over; they change with the system's. */
function paint({ chart, bands, fan, closes, forecasts, running }: Parts): void {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  chart.applyOptions({
    layout: { background: { color: "transparent" }, textColor: colour("--quiet") },
    grid: { vertLines: { color: colour("--hair") }, horzLines: { color: colour("--hair") } },
  });
  bands.applyOptions({ outer: colour("--band-past-outer"), inner: colour("--band-past-inner") } as Partial<BandOptions>);
  fan.applyOptions({ outer: colour("--band-outer"), inner: colour("--band-inner") } as Partial<BandOptions>);
  closes.applyOptions({ color: colour("--ink") });
  forecasts.applyOptions({ color: colour("--accent") });
  running?.applyOptions({ color: colour("--accent") });
}

/** Choose unit and decimals for prices like these: the axis tells the newest interval from its centre. */
function scale(parts: Parts, { coin, interval, interval_50: half, predicted_price, current_price }: Drawn): void {
  const decimals = priceDecimals(interval.low, half.low, predicted_price, half.high, interval.high);
  // The library takes steps below 1e-14 for nothing, so that small prices are drawn in a unit of their own.
  parts.unit = current_price >= 1 ? 1 : 10 ** decimals;
  const precision = parts.unit === 1 ? decimals : 0;
  const priceFormat = { type: "price" as const, minMove: 10 ** -precision, base: 10 ** precision, precision };
  for (const series of [parts.bands, parts.fan, parts.closes, parts.forecasts]) series.applyOptions({ priceFormat });
  parts.chart.applyOptions({ localization: { priceFormatter: (value: number) => moneyWith(value / parts.unit, coin, decimals) } });
}

function fill(parts: Parts, newest: Drawn, past: Past, apart: number, step: number): void {
  scale(parts, newest);
  const { bands, fan, closes, forecasts, axis, unit } = parts;
  const until = stamp(newest.data_until);
  const band = ({ predicted_for, interval, interval_50: half }: Pick<Told, "predicted_for" | "interval" | "interval_50">) =>
    bandAt(stamp(predicted_for), interval.low * unit, half.low * unit, half.high * unit, interval.high * unit);
  const before = past.forecasts.filter((one) => stamp(one.predicted_for) <= until);
  const start = newest.current_price * unit;
  bands.applyOptions({ apart } as Partial<BandOptions>);
  fan.applyOptions({ apart: stamp(newest.predicted_for) - until } as Partial<BandOptions>);
  bands.setData(before.map(band));
  fan.setData([bandAt(until, start, start, start, start), band(newest)]);
  forecasts.setData([...before, newest].map((one) => ({ time: stamp(one.predicted_for), value: one.predicted_price * unit })));
  closes.setData(past.closes.map(({ time, close }) => ({ time: stamp(time), value: close * unit })));
  axis.setData(evenTimes(past, newest, step).map((time) => ({ time: time as UTCTimestamp })));
}

/** The running price as a line across: the hour is not over, so that it has no place in time yet. */
function showRunning(parts: Parts, price: number | null): void {
  if (price === null) {
    if (parts.running) parts.closes.removePriceLine(parts.running);
    parts.running = null;
  } else if (parts.running) parts.running.applyOptions({ price: price * parts.unit });
  else {
    const color = getComputedStyle(document.documentElement).getPropertyValue("--accent").trim();
    parts.running = parts.closes.createPriceLine({ price: price * parts.unit, color, lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: true, title: "" });
  }
}
