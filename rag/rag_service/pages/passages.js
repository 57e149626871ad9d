// Passages that were found, with how they were found; each opens its document where it stands.

import { bar, button, element } from "./dom.js";
import { read } from "./reader.js";
import { place } from "./words.js";

/** A list of hits, the best first. */
export function passageList(hits, collection, label) {
  return element("ol", { class: "passages", "aria-label": label }, ...hits.map((hit) => passage(hit, collection)));
}

function passage(hit, collection) {
  const head = element("p", { class: "source" }, opener(hit, collection), " ", element("span", { class: "hint" }, place(hit)));
  return element("li", {}, head, scores(hit), element("p", { class: "words", dir: "auto" }, hit.text.replace(/\n+/g, "\n")));
}

/** A button with a document's name that opens it with this quote or passage marked. */
export function opener(found, collection) {
  return button(found.document, () => read(found, collection), { class: "link", title: "Show it in the document" });
}

function scores(hit) {
  const rank = (number) => (number === null ? "not found" : `rank ${number}`);
  return element(
    "dl",
    { class: "scores" },
    fact("score", hit.score.toFixed(2), bar(hit.score)),
    fact("by meaning", rank(hit.dense_rank)),
    fact("by words", rank(hit.lexical_rank)),
    fact("similarity", hit.similarity.toFixed(2)),
  );
}

const fact = (name, value, ...more) => element("div", {}, element("dt", {}, name), element("dd", {}, value, ...more));
