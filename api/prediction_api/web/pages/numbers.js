// Numbers for people: as many digits as say something.

/** Decimals that show `spread` with three significant digits: a value known to ±1.06 is worth two decimals. */
export function decimalsFor(spread) {
  if (!Number.isFinite(spread) || spread <= 0) return 2;
  return Math.min(8, Math.max(0, 2 - Math.floor(Math.log10(spread))));
}

/** 6497 -> "6,497"; 5.545367 with 2 decimals -> "5.55"; a minus sign that lines up with the plus. */
export function withDecimals(value, decimals, signDisplay = "auto") {
  const shown = { minimumFractionDigits: decimals, maximumFractionDigits: decimals, signDisplay };
  return new Intl.NumberFormat("en", shown).format(value).replace("-", "−");
}

/** A figure with four significant digits, without needless zeros. */
export function figure(value, signDisplay = "auto") {
  const size = Math.abs(value);
  const notation = value !== 0 && (size < 1e-4 || size >= 1e9) ? "scientific" : "standard";
  const shown = { maximumSignificantDigits: size >= 1000 && size < 1e9 ? 9 : 4, notation, signDisplay };
  return new Intl.NumberFormat("en", shown).format(value).replace("-", "−");
}

const METRICS = { mae: "MAE", rmse: "RMSE", r2: "R²", roc_auc: "ROC AUC", f1: "F1" };

/** "baseline_mae" -> "MAE without a model". */
export function metricName(name) {
  const base = name.replace(/^baseline_/, "");
  const shown = METRICS[base] ?? base.replaceAll("_", " ");
  return base === name ? shown : `${shown} without a model`;
}

/** A value of the input as given: nothing rounded away, an empty one named. */
export function given(value) {
  return value === null || value === "" ? "empty" : String(value);
}

export const percent = (share, decimals = 0) => `${withDecimals(share * 100, decimals)}%`;

/** A probability in percent. Only what is certain is written as 0% or 100%. */
export function chance(share) {
  if (share > 0 && share < 0.001) return "<0.1%";
  if (share > 0.999 && share < 1) return ">99.9%";
  return percent(share, 1);
}

/** "2026-11-23T09:00:00Z" -> "23 Nov 2026, 09:00 UTC". */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  const shown = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" };
  return `${new Intl.DateTimeFormat("en-GB", shown).format(date)} UTC`;
}
