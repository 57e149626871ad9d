// A document's extracted text in a dialog, with a quote or a passage marked in its place.

import { button, byId, element, problemNote } from "./dom.js";
import { getJson, within } from "./service.js";
import { count, place } from "./words.js";

const AROUND = 50_000; // characters on either side; more of a long document is shown when asked for

/**
 * Opens the document `{document_id, document}` and marks `text[start:end]`, counted as the service does. Without `start` it
 * opens at its beginning.
 */
export async function read(found, collection) {
  byId("reader-title").textContent = found.document;
  byId("reader-place").textContent = place(found);
  byId("reader-text").replaceChildren(element("p", { class: "hint" }, "Fetching the document…"));
  byId("reader").showModal();
  try {
    const whole = await getJson(within(`documents/${encodeURIComponent(found.document_id)}`, collection));
    const marked = found.start === undefined ? null : unitsOf(whole.text, [found.start, found.end]);
    byId("reader-facts").textContent = facts(whole);
    show(whole, marked, { from: (marked?.[0] ?? 0) - AROUND, to: (marked?.[1] ?? 0) + AROUND });
    const mark = byId("reader-text").querySelector("mark");
    mark?.focus({ preventScroll: true });
    mark?.scrollIntoView({ block: "center" });
    if (!mark) byId("reader-text").scrollTop = 0;
  } catch (problem) {
    byId("reader-text").replaceChildren(problemNote(problem));
  }
}

/** Lets the dialog be closed by its button and by a click beside it; Escape is the browser's own. */
export function startReader() {
  const dialog = byId("reader");
  byId("reader-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => byId("reader-text").replaceChildren()); // a long text is not kept for nothing
}

function facts(whole) {
  const pages = whole.pages.length ? `, ${count(whole.pages.length, "page")}` : "";
  return `${count(whole.characters, "character")}${pages}. The text as it was read: every quote stands in it word for word.`;
}

/** Shows the text from one place to another, both in UTF-16 units and not in the middle of a character. */
function show(whole, marked, { from, to }) {
  const text = whole.text;
  const first = Math.max(0, from);
  const last = Math.min(text.length, to);
  const more = (label, window) => button(label, () => show(whole, marked, window), { class: "quiet" });
  const pieces = piecesOf(whole, marked, characterStart(text, first), characterStart(text, last));
  if (first > 0) pieces.unshift(more("Show earlier text", { from: from - 4 * AROUND, to }));
  if (last < text.length) pieces.push(more("Show later text", { from, to: to + 4 * AROUND }));
  byId("reader-text").replaceChildren(...pieces);
}

/** The text cut where a page begins and where the mark begins and ends; text stays text. */
function piecesOf(whole, marked, first, last) {
  const starts = unitsOf(whole.text, whole.pages.map((page) => page.start));
  const pages = new Map(starts.map((start, index) => [start, whole.pages[index].number]));
  const cuts = [first, last, ...starts, ...(marked ?? [])].filter((cut) => cut >= first && cut <= last);
  const sorted = [...new Set(cuts)].sort((one, other) => one - other);
  const pieces = [];
  sorted.forEach((start, index) => {
    if (pages.has(start)) pieces.push(element("span", { class: "page" }, `Page ${pages.get(start)}`));
    const text = whole.text.slice(start, sorted[index + 1] ?? start);
    if (!text) return;
    const inside = marked && start >= marked[0] && start < marked[1];
    pieces.push(inside ? element("mark", { tabindex: -1 }, text) : text);
  });
  return pieces;
}

/** Where these places, counted in characters and in order, are in a JavaScript string, which counts UTF-16 units. */
export function unitsOf(text, places) {
  if (!/[\ud800-\udbff]/.test(text)) return places;
  let characters = 0;
  let units = 0;
  return places.map((wanted) => {
    for (; characters < wanted; characters += 1) units += text.codePointAt(units) > 0xffff ? 2 : 1;
    return units;
  });
}

const characterStart = (text, unit) => (/[\udc00-\udfff]/.test(text.charAt(unit)) ? unit - 1 : unit);
