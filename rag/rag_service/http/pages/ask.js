// Asking: the question goes out, passages come in first, then the model's unchecked words, then the answer.

import { answerView, sourcesView } from "./answer.js";
import { chosen } from "./collections.js";
import { named } from "./documents.js";
import { byId, element, problemNote } from "./dom.js";
import { passageList } from "./passages.js";
import { ask } from "./service.js";
import { count } from "./words.js";

let asking = null;

/** Lets the form ask in the collection that is chosen. */
export function startAsking() {
  byId("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (byId("question").reportValidity()) answer(byId("question").value.trim(), chosen());
  });
  byId("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("ask-form").requestSubmit();
  });
  byId("stop").addEventListener("click", () => asking?.abort());
}

async function answer(question, collection) {
  asking?.abort();
  const own = (asking = new AbortController());
  clear(question);
  try {
    const content = { question, collection, top_k: Number(byId("ask-top-k").value), documents: named("ask-only") };
    for await (const [name, data] of ask(content, own.signal)) show[name]?.(data, collection);
  } catch (problem) {
    if (own !== asking) return; // another question has taken its place
    if (problem.name === "AbortError") state("Stopped.");
    else {
      state("");
      byId("said").replaceChildren(problemNote(problem));
    }
  }
  if (own === asking) rest();
}

function rest() {
  if (document.activeElement === byId("stop")) byId("question").focus(); // what is hidden would lose it
  [byId("stop").hidden, byId("draft").hidden] = [true, true];
}

/** What each event of the stream changes on the page. */
const show = {
  retrieved({ hits }, collection) {
    state(`${count(hits.length, "passage")} found. Reading…`);
    byId("found").replaceChildren(
      element("summary", {}, `${count(hits.length, "passage")} looked at`),
      passageList(hits, collection, "Passages looked at"),
    );
    byId("found").hidden = !hits.length;
  },
  token({ text, draft }) {
    byId("draft").hidden = false;
    byId("draft-kind").textContent = `Being written, ${draft ? "not checked yet" : "each sentence checked"}`;
    byId("draft-text").append(text);
  },
  answer(answer, collection) {
    state("");
    byId("draft").hidden = true;
    byId("said").replaceChildren(...answerView(answer));
    byId("sources").replaceChildren(...sourcesView(answer, collection));
    byId("found").open = answer.abstained;
  },
};

function clear(question) {
  byId("answer").hidden = false;
  byId("asked").textContent = question;
  for (const id of ["said", "sources", "draft-text", "found"]) byId(id).replaceChildren();
  [byId("stop").hidden, byId("draft").hidden, byId("found").hidden] = [false, true, true];
  state("Looking for passages…");
  byId("answer").scrollIntoView({ block: "nearest" });
}

function state(text) {
  byId("ask-state").textContent = text;
}
