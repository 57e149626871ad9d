// Numbers, times and places, for people.

import { element } from "./dom.js";

const MOST_WARNINGS = 3;
const MOST_PAGES = 8;
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

/** {year: "2024", author: "Ada"} -> "year=2024; author=Ada", as the fields for metadata take it. */
export const pairs = (metadata) => Object.entries(metadata).map((pair) => pair.join("=")).join("; ");

/** What a file's reader warns of, the same of several pages once. Of many warnings most wait until they are opened. */
export function warningsView(warnings) {
  const pages = new Map();
  for (const { detail, page } of warnings) pages.set(detail, [...(pages.get(detail) ?? []), ...(page ? [page] : [])]);
  const views = [...pages].map(([detail, on]) => element("p", { class: "hint warning" }, `${pagesOf(on)}${detail}`));
  if (views.length <= MOST_WARNINGS) return views;
  const more = views.splice(MOST_WARNINGS - 1);
  return [...views, element("details", {}, element("summary", {}, `${more.length} more warnings`), ...more)];
}

function pagesOf(numbers) {
  if (!numbers.length) return "";
  const named = numbers.slice(0, MOST_PAGES).join(", ");
  const others = numbers.length > MOST_PAGES ? ` and ${numbers.length - MOST_PAGES} others` : "";
  return `Page${numbers.length > 1 ? "s" : ""} ${named}${others}: `;
}
