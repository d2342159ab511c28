import type { Prediction } from "@/lib/api";

/** The two intervals to scale, with the last close, the forecast and, where it is known, what came. The text beside it says the same. */
export function RangeStrip({ prediction }: { prediction: Prediction }) {
  const { interval, interval_50, predicted_price, current_price, actual_price } = prediction;
  const all = [interval.low, interval.high, current_price, predicted_price, ...(actual_price === null ? [] : [actual_price])];
  const low = Math.min(...all), span = Math.max(...all) - low || 1;
  const x = (price: number) => 12 + (976 * (price - low)) / span;
  const bar = (range: { low: number; high: number }, name: string, tall: number) => (
    <rect className={name} x={x(range.low)} width={Math.max(2, x(range.high) - x(range.low))} y={32 - tall / 2} height={tall} rx={2} />
  );
  return (
    <svg className="strip" viewBox="0 0 1000 64" preserveAspectRatio="none" aria-hidden="true">
      {bar(interval, "outer", 20)}
      {bar(interval_50, "inner", 20)}
      <line className="last" x1={x(current_price)} x2={x(current_price)} y1={12} y2={52} />
      <line className="median" x1={x(predicted_price)} x2={x(predicted_price)} y1={20} y2={44} />
      {actual_price !== null && <path className="actual" d={`M${x(actual_price) - 10} 2 h20 l-10 16 z`} />}
    </svg>
  );
}
