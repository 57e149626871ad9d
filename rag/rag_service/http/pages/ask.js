// Asking: the question goes out, passages come in first, then the model's unchecked words, then the answer.

import { actionsView } from "./answer_actions.js";
import { answerView, sourcesView } from "./answer.js";
import { chosen, showCollections } from "./collections.js";
import { conversation, keepTurn, remember, startConversation } from "./conversation.js";
import { byId, element, problemNote } from "./dom.js";
import { named, pairsIn } from "./fields.js";
import { passageList } from "./passages.js";
import { ask } from "./service.js";
import { count } from "./words.js";

// What an answer's link puts into the page's address, and the fields that it fills.
const FIELDS = { question: "question", document: "ask-only", metadata: "ask-metadata", top_k: "ask-top-k" };
let asking = null;

/** Lets the form ask in the collection that is chosen. */
export function startAsking() {
  startConversation();
  byId("ask-form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (byId("ask-form").reportValidity()) answer();
  });
  byId("question").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    byId("ask-form").requestSubmit();
  });
  byId("stop").addEventListener("click", () => asking?.abort());
}

/** Asks what the page's address asks, if it does. */
export async function askFromAddress() {
  const given = new URLSearchParams(location.search);
  if (!given.has("question")) return;
  for (const [name, id] of Object.entries(FIELDS)) if (given.has(name)) byId(id).value = given.get(name);
  await showCollections();
  byId("ask-form").requestSubmit();
}

async function answer() {
  asking?.abort();
  const own = (asking = new AbortController());
  const content = {
    question: byId("question").value.trim(),
    collection: chosen(),
    top_k: Number(byId("ask-top-k").value),
    documents: named("ask-only"),
    metadata: pairsIn("ask-metadata"),
  };
  clear(content.question);
  try {
    for await (const [name, data] of ask({ ...content, conversation: conversation(content) }, own.signal)) show[name]?.(data, content);
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
  asked({ question }) {
    byId("asked-as").replaceChildren(element("span", { class: "hint" }, `Searched for: ${question}`));
  },
  retrieved({ hits }, { collection }) {
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
  answer(answer, content) {
    const asked = { ...content, question: answer.asked || content.question }; // a follow-up, completed
    state("");
    byId("draft").hidden = true;
    byId("said").replaceChildren(...answerView(answer));
    byId("sources").replaceChildren(...sourcesView(answer, content.collection), actionsView(answer, asked));
    byId("found").open = answer.abstained;
    remember(asked, answer);
  },
};

function clear(question) {
  keepTurn();
  byId("samples").hidden = true;
  byId("answer").hidden = false;
  byId("asked").textContent = question;
  for (const id of ["asked-as", "said", "sources", "draft-text", "found"]) byId(id).replaceChildren();
  [byId("stop").hidden, byId("draft").hidden, byId("found").hidden] = [false, true, true];
  state("Looking for passages…");
  byId("answer").scrollIntoView({ block: "nearest" });
}

function state(text) {
  byId("ask-state").textContent = text;
}
