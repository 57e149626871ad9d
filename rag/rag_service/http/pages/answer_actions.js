// What can be done with an answer: it is copied, linked to, rated.

import { button, element } from "./dom.js";
import { post } from "./service.js";
import { pairs, place } from "./words.js";

/** `asked` is the question as it was searched for, and where. */
export function actionsView(answer, asked) {
  const look = { class: "quiet small" };
  const state = element("span", { class: "hint", role: "status" });
  const does = (work, said) => async ({ currentTarget }) => {
    try {
      await work(currentTarget);
      state.textContent = said;
    } catch (problem) {
      state.textContent = problem.detail ?? problem.message;
    }
  };
  const ratings = [["Good answer", true], ["Bad answer", false]].map(([label, good]) =>
    button(label, does(async (pressed) => {
      await rate(answer, asked, good);
      for (const one of ratings) one.setAttribute("aria-pressed", one === pressed);
    }, "Kept as a question to evaluate with."), { ...look, "aria-pressed": "false" }),
  );
  const copy = button("Copy", does(() => copied(textOf(answer)), "Copied."), look);
  return element("p", { class: "actions after" }, copy, element("a", { href: addressOf(asked) }, "Link"), ...ratings, state);
}

/** What opens the page with the same question. */
function addressOf({ question, collection, documents, metadata, top_k }) {
  const address = new URLSearchParams({ question, collection, top_k });
  for (const name of documents) address.set("document", name);
  if (pairs(metadata)) address.set("metadata", pairs(metadata));
  return `?${address}`;
}

function rate({ abstained, citations }, { question, collection }, good) {
  const places = citations.map(({ document_id, start, end }) => ({ document_id, start, end }));
  return post("ratings", { question, collection, good, abstained, citations: places });
}

function textOf({ answer, citations }) {
  const sources = citations.map((one, index) => `[${index + 1}] ${[one.document, place(one)].filter(Boolean).join(", ")}: “${one.quote}”`);
  return [answer, ...sources].join("\n\n");
}

async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const field = element("textarea", { class: "copied" }, text); // over plain HTTP a browser has no clipboard for pages
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
