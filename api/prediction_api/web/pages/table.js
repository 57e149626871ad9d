// CSV text as rows of cells and back, as far as a look at a file needs it: what counts is how the service reads it.

import { element } from "./dom.js";

/** The cells of the first `most` lines of `text`; a quoted cell may hold anything, also line breaks. */
export function parse(text, most = Infinity) {
  const plain = text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n").trimEnd();
  const header = plain.split("\n", 1)[0];
  const separator = [",", ";", "\t"].reduce((best, one) => (header.split(one).length > header.split(best).length ? one : best));
  const cells = new RegExp(`("(?:[^"]|"")*"|[^${separator}\\n]*)(${separator}|\\n|$)`, "gy");
  const rows = [[]];
  for (const [, cell, end] of plain.matchAll(cells)) {
    rows.at(-1).push(/^".*"$/s.test(cell) ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end === "" || (end === "\n" && rows.length === most)) break;
    if (end === "\n") rows.push([]);
  }
  return plain ? rows : [];
}

/** The rows as CSV text without the columns at these places. */
export function withoutColumns(rows, places) {
  const quoted = (cell) => (/[",\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const kept = rows.map((cells) => cells.filter((_, place) => !places.has(place)).map(quoted).join(","));
  return `${kept.join("\n")}\n`;
}

/** A table of these rows, the first as its header, under a caption; it scrolls sideways by itself. */
export function tableOf([header, ...rows], caption) {
  const line = (kind, cells) => element("tr", {}, ...cells.map((cell) => element(kind, kind === "th" ? { scope: "col" } : {}, cell)));
  const body = element("tbody", {}, ...rows.map((cells) => line("td", cells)));
  const table = element("table", {}, element("thead", {}, line("th", header)), body);
  const scrolling = element("div", { class: "sideways", tabindex: 0, role: "region", "aria-label": caption }, table);
  return element("div", {}, element("p", { class: "hint" }, caption), scrolling);
}
