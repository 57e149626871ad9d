// The turns of a conversation: what was answered before stays below the present answer, and completes a follow-up.

import { byId, element } from "./dom.js";

const MOST_TURNS = 4; // that a follow-up is completed from
const LONGEST_ANSWER = 10_000;
let turns = []; // the oldest first

/** Lets the earlier answers be forgotten. */
export function startConversation() {
  byId("forget").addEventListener("click", () => {
    turns = [];
    byId("turns").replaceChildren();
    byId("earlier").hidden = true;
    byId("question").focus();
  });
}

/** The last turns in the collection, as /ask takes them. */
export function conversation({ collection }) {
  const own = turns.filter((turn) => turn.collection === collection).slice(-MOST_TURNS);
  return own.map(({ question, answer }) => ({ question, answer }));
}

/** `asked` was answered. */
export function remember({ question, collection }, { answer }) {
  turns.push({ question, collection, answer: answer.slice(0, LONGEST_ANSWER) });
}

/** Puts the present answer, if there is one, among the earlier ones. */
export function keepTurn() {
  if (!byId("said").querySelector(".said")) return;
  const content = ["asked-as", "said", "sources"].flatMap((id) => [...byId(id).childNodes]);
  const summary = element("summary", { dir: "auto" }, byId("asked").textContent);
  byId("turns").prepend(element("li", {}, element("details", {}, summary, ...content)));
  byId("earlier").hidden = false;
}
