import type { CustomData, CustomSeriesOptions, CustomSeriesPricePlotValues, CustomSeriesWhitespaceData, ICustomSeriesPaneRenderer, ICustomSeriesPaneView, PaneRendererCustomData, UTCTimestamp } from "lightweight-charts";

/**
 * Where the price is expected at a moment: 90 % between `low90` and `high90`, 50 % between `low50` and `high50`. The library keeps `time`
 * for itself and hands the rest back, so that `at` repeats it.
 */
export interface Band extends CustomData<UTCTimestamp> {
  /** Unix seconds, as `time` */
  at: number;
  low90: number;
  low50: number;
  high50: number;
  high90: number;
}

export interface BandOptions extends CustomSeriesOptions {
  outer: string;
  inner: string;
  /** Seconds between neighbours; where more lie between two, nothing was expected and nothing is drawn */
  apart: number;
}

type Shape = PaneRendererCustomData<UTCTimestamp, Band>;

/** A band at a moment. */
export const bandAt = (time: UTCTimestamp, low90: number, low50: number, high50: number, high90: number): Band => ({ time, at: time, low90, low50, high50, high90 });

/** Cut a series, in order of time, where neighbours lie more than `apart` seconds from each other: nothing was expected there, so nothing may be drawn. */
export function runs<T>(items: readonly T[], time: (item: T) => number, apart = 3600): T[][] {
  const found: T[][] = [];
  for (const item of items) {
    const run = found.at(-1), last = run?.at(-1);
    if (run && last !== undefined && time(item) - time(last) <= apart) run.push(item);
    else found.push([item]);
  }
  return found;
}

/** A series that the library does not have: two bands, one within the other. */
export class BandSeries implements ICustomSeriesPaneView<UTCTimestamp, Band, BandOptions> {
  private data: Shape | null = null;
  private options: BandOptions | null = null;

  constructor(private readonly defaults: BandOptions) {}

  renderer(): ICustomSeriesPaneRenderer {
    return {
      draw: (target, priceToY) => {
        const { data, options } = this;
        const { from, to } = data?.visibleRange ?? { from: 0, to: 0 };
        if (!data || !options || from >= to) return;
        const bars = data.bars.slice(Math.max(0, from - 1), to + 1);
        const unbroken = runs(bars, (bar) => bar.originalData.at, options.apart);
        // Only bars in sight have a place; the neighbours just outside keep the one of an earlier view, or none.
        const known = data.bars[from]!;
        const place = (bar: (typeof bars)[number]) => known.x + (bar.time - known.time) * data.barSpacing;
        target.useBitmapCoordinateSpace(({ context, horizontalPixelRatio: wide, verticalPixelRatio: tall }) => {
          const area = (low: "low90" | "low50", high: "high90" | "high50", colour: string) => {
            const corner = (bar: (typeof bars)[number], edge: keyof Band) => [place(bar) * wide, (priceToY(bar.originalData[edge] as number) ?? 0) * tall] as const;
            context.fillStyle = colour;
            for (const run of unbroken) {
              context.beginPath();
              for (const bar of run) context.lineTo(...corner(bar, high));
              for (const bar of run.toReversed()) context.lineTo(...corner(bar, low));
              context.closePath();
              context.fill();
            }
          };
          area("low90", "high90", options.outer);
          area("low50", "high50", options.inner);
        });
      },
    };
  }

  update(data: Shape, options: BandOptions): void {
    this.data = data;
    this.options = options;
  }

  priceValueBuilder(band: Band): CustomSeriesPricePlotValues {
    return [band.low90, band.high90, (band.low50 + band.high50) / 2];
  }

  isWhitespace(data: Band | CustomSeriesWhitespaceData<UTCTimestamp>): data is CustomSeriesWhitespaceData<UTCTimestamp> {
    return !("low90" in data);
  }

  defaultOptions(): BandOptions {
    return this.defaults;
  }
}
