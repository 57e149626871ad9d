// A document's extracted text in a dialog, with a quote or a passage marked in its place.

import { button, byId, element, problemNote } from "./dom.js";
import { characterStart, cut, unitsOf } from "./offsets.js";
import { getJson, within } from "./service.js";
import { hideSheet, showSheet, startSheet } from "./sheet.js";
import { count, place } from "./words.js";

const AROUND = 50_000; // characters on either side; more of a long document is shown when asked for

/**
 * Opens the document `{document_id, document}` and marks `text[start:end]`, counted as the service does. Without `start` it
 * opens at its beginning.
 */
export async function read(found, collection) {
  byId("reader-title").textContent = found.document;
  for (const id of ["reader-place", "reader-facts"]) byId(id).textContent = "";
  byId("reader-text").replaceChildren(element("p", { class: "hint" }, "Fetching the document…"));
  hideSheet();
  byId("reader").showModal();
  try {
    const document = measured(await getJson(within(`documents/${encodeURIComponent(found.document_id)}`, collection)), found);
    byId("reader-facts").textContent = facts(document);
    const here = found.start === undefined ? {} : placeOf(document, found.start);
    byId("reader-place").textContent = place(here);
    if (document.original) showSheet(document, collection, here.page ?? 1, found);
    const [start, end] = document.marked ?? [0, 0];
    show(document, { from: start - AROUND, to: end + AROUND });
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
  startSheet();
  byId("reader-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => {
    byId("reader-text").replaceChildren(); // a long text is not kept for nothing
    hideSheet();
  });
}

/** The document with what is shown of it in a string's own units: the mark, and where pages and headings begin. */
function measured(document, { start, end }) {
  const units = (places) => unitsOf(document.text, places);
  const headings = units(document.headings.map((heading) => heading.start));
  const pages = units(document.pages.map((page) => page.start));
  return {
    ...document,
    marked: start === undefined ? null : units([start, end]),
    pageAt: new Map(pages.map((unit, index) => [unit, document.pages[index].number])),
    headingAt: new Map(headings.map((unit, index) => [unit, document.headings[index].title])),
  };
}

/** The page and the headings over a character: of a long passage's many pages the one that is marked. */
function placeOf({ pages, headings }, start) {
  const over = [];
  for (const heading of headings.filter((one) => one.start <= start)) {
    while (over.length && over.at(-1).level >= heading.level) over.pop();
    over.push(heading);
  }
  const page = pages.filter((one) => one.start <= start).at(-1)?.number;
  return { page, heading: over.map(({ title }) => title).join(" > ") };
}

function facts({ characters, pages }) {
  const paged = pages.length ? `, ${count(pages.length, "page")}` : "";
  return `${count(characters, "character")}${paged}. The text as it was read: every quote stands in it word for word.`;
}

/** Shows the text from one unit to another. */
function show(document, { from, to }) {
  const { text } = document;
  const first = characterStart(text, Math.max(0, from));
  const last = characterStart(text, Math.min(text.length, to));
  const more = (label, window) => button(label, () => show(document, window), { class: "quiet" });
  const pieces = piecesOf(document, first, last);
  if (first > 0) pieces.unshift(more("Show earlier text", { from: from - 4 * AROUND, to }));
  if (last < text.length) pieces.push(more("Show later text", { from, to: to + 4 * AROUND }));
  byId("reader-text").replaceChildren(...pieces);
}

/** The text with its marked words, its headings and the numbers of its pages; text stays text. */
function piecesOf({ text, marked, pageAt, headingAt }, first, last) {
  const ends = [...headingAt].map(([start, title]) => start + title.length);
  const cuts = [...pageAt.keys(), ...headingAt.keys(), ...ends, ...(marked ?? [])];
  return cut(text, cuts, first, last).flatMap(([start, piece]) => {
    const page = pageAt.has(start) ? [element("span", { class: "page" }, `Page ${pageAt.get(start)}`)] : [];
    const title = headingAt.get(start) === piece ? element("strong", {}, piece) : piece;
    const inside = marked && start >= marked[0] && start < marked[1];
    return [...page, inside ? element("mark", { tabindex: -1 }, title) : title];
  });
}
