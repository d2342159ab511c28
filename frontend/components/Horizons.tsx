import { memo } from "react";

interface Props {
  horizons: readonly number[];
  chosen: number;
  onChoose: (horizon: number) => void;
}

/** How far ahead the forecasts look whose record is shown below. */
export const Horizons = memo(function Horizons({ horizons, chosen, onChoose }: Props) {
  return (
    <fieldset className="horizons">
      <legend>Record of the forecasts for</legend>
      <div className="spans">
        {horizons.map((minutes) => (
          <label key={minutes}><input type="radio" name="horizon" checked={chosen === minutes} onChange={() => onChoose(minutes)} /><span>{minutes} minutes</span></label>
        ))}
      </div>
    </fieldset>
  );
});
