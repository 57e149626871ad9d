// A few questions to begin with, as long as nothing was asked.

import { chosen, onCollection } from "./collections.js";
import { button, byId, element } from "./dom.js";
import { getJson } from "./service.js";

/** Shows questions that the chosen collection answers; where there are none, and before the models are there, nothing. */
export function startSamples() {
  onCollection(showSamples);
}

export async function showSamples() {
  const collection = chosen();
  const questions = await questionsOf(collection);
  if (collection !== chosen()) return;
  byId("samples").replaceChildren(element("span", { class: "hint" }, "For example:"), ...questions.map(sample));
  byId("samples").hidden = !questions.length || !byId("answer").hidden;
}

async function questionsOf(collection) {
  if (!byId("answer").hidden) return [];
  try {
    return (await getJson(`collections/${encodeURIComponent(collection)}/questions`)).questions;
  } catch {
    return []; // one can ask without
  }
}

function sample(question) {
  const ask = () => {
    byId("question").value = question;
    byId("ask-form").requestSubmit();
  };
  return button(question, ask, { class: "link" });
}
