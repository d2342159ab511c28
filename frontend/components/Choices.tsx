import { memo } from "react";
import type { CoinInfo } from "@/lib/api";
import { chosenHour, isoHour, offeredHours, type Choice } from "@/lib/choice";
import { clock, coinName, dayAndClock, modelName } from "@/lib/format";

const HOUR = 3_600_000;

interface Props {
  coins: readonly CoinInfo[];
  choice: Choice;
  onChoose: (choice: Choice) => void;
}

/** Coin, time and model. Native selects: every keyboard, phone and screen reader knows them. */
export const Choices = memo(function Choices({ coins, choice, onChoose }: Props) {
  const info = coins.find((one) => one.coin === choice.coin);
  const lastClosed = Date.parse(info?.data_until ?? coins.find((one) => one.data_until)?.data_until ?? "");
  const chosen = chosenHour(choice.time, lastClosed);
  const known = info?.models ?? [];
  const move = (hours: number) => {
    const target = (chosen ?? lastClosed) + hours * HOUR;
    onChoose({ ...choice, time: target >= lastClosed ? "now" : isoHour(target) });
  };
  return (
    <form className="choices" aria-label="What to forecast" onSubmit={(event) => event.preventDefault()}>
      <label>
        Coin
        <select value={choice.coin} onChange={(event) => onChoose({ ...choice, coin: event.target.value })}>
          {!info && <option value={choice.coin}>{choice.coin}: not here</option>}
          {coins.map(({ coin }) => <option key={coin} value={coin}>{coinName(coin)} ({coin})</option>)}
        </select>
      </label>
      <div className="time">
        <label>
          Asked at
          <select value={chosen === null ? "now" : isoHour(chosen)} onChange={(event) => onChoose({ ...choice, time: event.target.value })}>
            <option value="now">now</option>
            {!Number.isNaN(lastClosed) && offeredHours(lastClosed, chosen).map((hour) => (
              <option key={hour} value={isoHour(hour)}>{label(hour, lastClosed)}</option>
            ))}
          </select>
        </label>
        <button type="button" onClick={() => move(-1)} aria-label="One hour earlier" disabled={Number.isNaN(lastClosed)}>←</button>
        <button type="button" onClick={() => move(1)} aria-label="One hour later" disabled={chosen === null}>→</button>
      </div>
      <label>
        Model
        <select value={choice.model} onChange={(event) => onChoose({ ...choice, model: event.target.value })}>
          {!known.includes(choice.model) && <option value={choice.model}>{choice.model}: not here</option>}
          {known.map((model) => (
            <option key={model} value={model}>{model === "champion" ? `Champion (${modelName(info?.champion ?? "")})` : modelName(model)}</option>
          ))}
        </select>
      </label>
    </form>
  );
});

function label(hour: number, lastClosed: number): string {
  const back = Math.round((lastClosed - hour) / HOUR);
  return back > 0 && back <= 24 ? `${clock(hour)} UTC, ${back} h back` : `${dayAndClock(hour)} UTC`;
}
