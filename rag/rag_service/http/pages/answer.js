// One answer as /ask gives it: what it says, where that comes from, and how sure it is. Nothing is made to look surer.

import { bar, element } from "./dom.js";
import { opener } from "./passages.js";
import { count, percent, place } from "./words.js";

/** What is said: the kind of the answer first, so that a quotation is never taken for the model's own words. */
export function answerView(answer) {
  const [label, explained] = kindOf(answer);
  const unsure = !answer.abstained && answer.confidence < 0.5; // less likely right than wrong
  return [
    element("p", { class: `kind ${unsure ? "none" : answer.answered_by}` }, unsure ? `Unsure. ${label}` : label),
    element("p", { class: "said", dir: "auto" }, answer.answer),
    element("p", { class: "hint" }, unsure ? `${explained} Read it in the document before you rely on it.` : explained),
  ];
}

function kindOf(answer) {
  const { generator } = answer.model;
  if (answer.abstained && answer.citations.length) return ["Related, but not an answer", "What the documents say nearest to it is below."];
  if (answer.abstained) return ["Not answered", "Nothing in the passages below is sure enough to be an answer."];
  if (answer.answered_by === "generator") return ["Written by the model, found in the documents", "The sentence that it stands on is below."];
  if (!generator) return ["Quoted word for word", "The service runs without a generator: it quotes the sentence that answers best."];
  if (answer.generator_error) return ["Quoted word for word", `The model wrote no answer. ${answer.generator_error}`];
  return ["Quoted word for word", "What the model wrote does not stand in the documents, so the best sentence is quoted instead."];
}

/** Its sources, each of which opens the document, and how sure the evidence is. */
export function sourcesView(answer, collection) {
  const quotes = answer.citations.map((citation) => {
    const head = element("p", { class: "source" }, opener(citation, collection), " ", element("span", { class: "hint" }, place(citation)));
    const against = citation.contradicts.length ? [element("p", { class: "hint warning" }, `Contradicted by ${citation.contradicts.join(", ")}`)] : [];
    return element("li", {}, head, element("blockquote", { dir: "auto" }, citation.quote), ...against);
  });
  const title = quotes.length > 1 ? "Sources, the best first" : "Sources";
  const list = quotes.length ? [element("h3", {}, title), element("ol", { class: "sources" }, ...quotes)] : [];
  return [...list, ...sureness(answer)];
}

function sureness(answer) {
  const said = `${percent(answer.confidence)} sure that the passages hold the answer`;
  const facts = [`Answered in ${Math.round(answer.timings_ms.total)} ms`];
  if (answer.dropped_passages) facts.push(`${count(answer.dropped_passages, "passage")} did not fit the model's window and went unread`);
  if (answer.dropped_sentences) facts.push(`${count(answer.dropped_sentences, "sentence")} of the model's left out: not in the documents`);
  if (answer.sentences.length && answer.generator_error) facts.push(answer.generator_error);
  return [
    element("p", { class: "sure" }, bar(answer.confidence), element("span", {}, said)),
    element("p", { class: "hint" }, `${facts.join(". ")}.`),
  ];
}
