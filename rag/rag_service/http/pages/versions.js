// A collection's versions: a copy that is changed beside it and then takes its place, and the way back.

import { collectionChosen, onCollection, showCollections } from "./collections.js";
import { confirmed } from "./confirm.js";
import { button, byId, element, problemNote } from "./dom.js";
import { postJson } from "./service.js";
import { count } from "./words.js";

let shown = "";

/** Lets a copy be made, put in place and taken back. */
export function startVersions() {
  onCollection(showVersions);
}

function showVersions() {
  const found = collectionChosen();
  const news = JSON.stringify(found ?? null);
  if (news === shown) return; // what has not changed stays untouched: somebody may be on one of its buttons
  shown = news;
  byId("versions").replaceChildren(...(found ? views(found) : []));
}

function views({ name, documents, next, previous }) {
  const copy = button("Copy to change", () => change(name, "next", `Add files into ${name}@next.`), { class: "quiet small" });
  const views = [version("In use", documents, copy)];
  if (next !== null) views.push(version(`Being prepared, as ${name}@next`, next, button("Put in use", () => promote(name), { class: "quiet small" })));
  if (previous !== null) views.push(version("What was in use before", previous, button("Take back", () => rollBack(name), { class: "quiet small" })));
  return views;
}

function version(title, documents, ...actions) {
  const hint = element("span", { class: "hint" }, count(documents, "document"));
  return element("li", {}, element("span", {}, element("strong", {}, title), " ", hint), element("span", { class: "choices" }, ...actions));
}

async function promote(name) {
  if (await confirmed(`Put ${name}@next in use? What is in use now can be taken back.`, "Put in use")) {
    await change(name, "promote", `${name} is what ${name}@next was.`);
  }
}

async function rollBack(name) {
  if (await confirmed(`Take back what ${name} was before?`, "Take back")) {
    await change(name, "rollback", `${name} is what it was before.`);
  }
}

/** Does it and says so, or says what is wrong. */
async function change(name, action, said) {
  byId("versions-problem").replaceChildren();
  try {
    await postJson(`collections/${encodeURIComponent(name)}/${action}`, {});
    byId("versions-state").textContent = said;
    await showCollections();
    byId("versions-title").focus(); // the button that had the focus is gone
  } catch (problem) {
    byId("versions-state").textContent = "";
    byId("versions-problem").replaceChildren(problemNote(problem));
  }
}
