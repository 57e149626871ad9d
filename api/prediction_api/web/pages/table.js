// The rows of a CSV for people to look at; what counts is how the service reads it.

import { element } from "./dom.js";

/** Each row with its cells and its line as the service counts it: a row over several lines is named by its last. */
export function* rowsOf(text) {
  const plain = text.replace(/^\uFEFF/, "").replace(/\r\n?/g, "\n");
  const header = plain.split("\n", 1)[0];
  const separator = [",", ";", "\t", "|"].reduce((best, one) => (header.split(one).length > header.split(best).length ? one : best));
  let line = 1;
  let cells = [];
  for (const [, cell, end] of plain.matchAll(new RegExp(`("(?:[^"]|"")*"|[^${separator}\\n]*)([${separator}\\n]|$)`, "gy"))) {
    line += cell.split("\n").length - 1;
    cells.push(/^".*"$/s.test(cell) ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    if (end === separator) continue;
    if (cells.length > 1 || cells[0]) yield { line, cells };
    if (!end) return;
    line += 1;
    cells = [];
  }
}

/** The header, the first `most` rows under it, and those that end in one of `lines`. */
export function someRows(text, most, lines = []) {
  const wanted = new Set(lines);
  const last = Math.max(0, ...lines);
  const found = [];
  for (const row of rowsOf(text)) {
    if (found.length > most && row.line > last) break;
    if (found.length <= most || wanted.has(row.line)) found.push(row);
  }
  return found;
}

/**
 * A table of these rows, the first as its header, under a caption; it scrolls sideways by itself. With `faults`, each
 * row has its line, and what is wrong is marked: by line the places of the cells, or none for the whole row.
 */
export function tableOf([header, ...rows], caption, faults) {
  const view = ({ line, cells }, kind) => {
    const wrong = faults?.get(line);
    const shown = (cell, place) => (wrong?.has(place) ? element("mark", {}, cell || "empty") : cell);
    const number = kind === "th" ? element("th", { scope: "col" }, "Line") : element("th", { scope: "row" }, wrong ? element("mark", {}, line) : line);
    const scope = kind === "th" ? { scope: "col" } : {};
    const missing = Array(Math.max(0, header.cells.length - cells.length)).fill("");
    return element("tr", {}, ...(faults ? [number] : []), ...[...cells, ...missing].map((cell, place) => element(kind, scope, shown(cell, place))));
  };
  const body = element("tbody", {}, ...rows.map((row) => view(row, "td")));
  const table = element("table", {}, element("thead", {}, view(header, "th")), body);
  const scrolling = element("div", { class: "sideways", tabindex: 0, role: "region", "aria-label": caption }, table);
  return element("div", {}, element("p", { class: "hint" }, caption), scrolling);
}
