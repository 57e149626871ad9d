// Numbers, times and places, for people.

import { element } from "./dom.js";

const whole = new Intl.NumberFormat("en");

/** count(1, "file") -> "1 file"; count(1200, "file") -> "1,200 files". */
export const count = (number, what) => `${whole.format(number)} ${what}${number === 1 ? "" : "s"}`;

/** A probability in percent. It is rounded, so neither end of it is ever certain. */
export function percent(share) {
  if (share < 0.01) return "under 1%";
  if (share > 0.99) return "over 99%";
  return `${Math.round(share * 100)}%`;
}

/** Bytes in the unit that fits. */
export function size(bytes) {
  if (bytes < 1000) return count(bytes, "byte");
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** "2026-11-23T09:00:00Z" -> "23 Nov 2026, 09:00 UTC". */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return String(text);
  const shown = { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", timeZone: "UTC" };
  return `${new Intl.DateTimeFormat("en-GB", shown).format(date)} UTC`;
}

/** Where in its document a passage or quote stands: page and heading, as far as there are any. */
export function place({ page, heading }) {
  return [page ? `page ${page}` : "", heading ?? ""].filter(Boolean).join(" · ");
}

/** What a file's reader warns of. */
export const warningView = ({ page, detail }) => element("p", { class: "hint warning" }, `${page ? `Page ${page}: ` : ""}${detail}`);
