// Passages that were found, with how they were found; each opens its document where it stands.

import { bar, button, element } from "./dom.js";
import { cut, unitsOf } from "./offsets.js";
import { read } from "./reader.js";
import { place } from "./words.js";

/** A list of hits, the best first. `moved(hit, rank)` may say how a hit's rank has changed. */
export function passageList(hits, collection, label, moved = () => "") {
  const items = hits.map((hit, index) => passage(hit, collection, moved(hit, index + 1)));
  return element("ol", { class: "passages", "aria-label": label }, ...items);
}

function passage(hit, collection, moved) {
  const where = [place(hit), moved].filter(Boolean).join(" · ");
  const head = element("p", { class: "source" }, opener(hit, collection), " ", element("span", { class: "hint" }, where));
  const copies = hit.also_in?.length ? [element("p", { class: "hint" }, `The same stands in ${hit.also_in.join(", ")}.`)] : [];
  return element("li", {}, head, scores(hit), element("p", { class: "words", dir: "auto" }, ...wordsOf(hit)), ...copies);
}

/** A button with a document's name that opens it with this quote or passage marked. */
export function opener(found, collection) {
  return button(found.document, () => read(found, collection), { class: "link", title: "Show it in the document" });
}

/** The passage's text with the question's words in it made to stand out. Empty lines only take room here. */
function wordsOf({ text, start, terms = [] }) {
  const units = unitsOf(text, terms.flatMap((term) => [term.start - start, term.end - start]));
  const begins = new Set(units.filter((_, index) => index % 2 === 0));
  return cut(text, units).map(([unit, piece]) => {
    const shown = piece.replace(/\n+/g, "\n");
    return begins.has(unit) ? element("b", { class: "term" }, shown) : shown;
  });
}

function scores(hit) {
  const rank = (number) => (number === null ? "not found" : `rank ${number}`);
  const late = hit.late_interaction ?? null;
  return element(
    "dl",
    { class: "scores" },
    fact("similarity", hit.similarity.toFixed(2), bar(hit.similarity)),
    ...(late === null ? [] : [fact("late interaction", late.toFixed(2), bar(late))]),
    fact("by meaning", rank(hit.dense_rank)),
    fact("by words", rank(hit.lexical_rank)),
    fact("relative score", hit.score.toFixed(2)), // the best of any search has about 1: no bar is drawn
  );
}

const fact = (name, value, ...more) => element("div", {}, element("dt", {}, name), element("dd", {}, value, ...more));
