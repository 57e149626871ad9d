// The documents of the chosen collection: looked at, looked for by name, deleted.

import { chosen, onCollection, showCollections } from "./collections.js";
import { confirmed } from "./confirm.js";
import { button, byId, element, problemNote } from "./dom.js";
import { read } from "./reader.js";
import { getJson, remove, within } from "./service.js";
import { count, moment, size, warningView } from "./words.js";

const MOST_SHOWN = 100; // the rest is found by name
const FILTERED_FROM = 8;
const MOST_NAMES = 1000; // proposed where a document can be named
let documents = [];
let shown = "";

/** Shows the documents, anew whenever the choice of a collection is made. */
export function startDocuments() {
  onCollection(showDocuments);
  byId("filter").addEventListener("input", showFiltered);
}

/** The documents that the field `id` names, as /ask and /search take them: that one, or none, which means all. */
export function named(id) {
  const name = byId(id).value.trim();
  return name ? [name] : [];
}

async function showDocuments() {
  const collection = chosen();
  try {
    const found = await allOf(collection);
    if (collection !== chosen()) return; // another one was chosen meanwhile
    const news = JSON.stringify([collection, found]);
    if (news === shown) return; // what has not changed stays untouched: somebody may be on one of its buttons
    [shown, documents] = [news, found];
    byId("names").replaceChildren(...documents.slice(0, MOST_NAMES).map(({ name }) => element("option", { value: name })));
    showFiltered();
  } catch (problem) {
    shown = "";
    byId("documents-list").replaceChildren(problemNote(problem));
  }
}

/** All documents of a collection, read page by page. */
async function allOf(collection) {
  const found = [];
  for (let after = ""; after !== null; ) {
    const page = await getJson(`documents?${new URLSearchParams({ collection, after })}`);
    found.push(...page.documents);
    after = page.next;
  }
  return found;
}

function showFiltered() {
  const wanted = byId("filter").value.trim().toLowerCase();
  const found = documents.filter(({ name }) => name.toLowerCase().includes(wanted));
  const hidden = found.length - MOST_SHOWN;
  byId("filter-row").hidden = documents.length < FILTERED_FROM;
  byId("documents-state").textContent = stateOf(found, hidden);
  byId("documents-list").replaceChildren(...(found.length ? [table(found.slice(0, MOST_SHOWN))] : []));
}

function stateOf(found, hidden) {
  if (!documents.length) return `The collection ${chosen()} holds no document.`;
  if (hidden > 0) return `${count(found.length, "document")}; the first ${MOST_SHOWN} are shown. Look for the others by name.`;
  return found.length === documents.length ? `${count(found.length, "document")}.` : `${found.length} of ${count(documents.length, "document")}.`;
}

function table(listed) {
  const names = ["Name", "Size", "Pages", "Passages", "Added", "Action"];
  const head = names.map((name) => element("th", { scope: "col" }, name));
  const body = element("tbody", {}, ...listed.map(row));
  return element("table", { class: "stacked" }, element("thead", {}, element("tr", {}, ...head)), body);
}

function row(document) {
  const cell = (name, ...content) => element("td", { "data-name": name }, ...content);
  const opened = button(document.name, () => read({ document: document.name, document_id: document.id }, document.collection), { class: "link" });
  const watched = document.origin ? [element("p", { class: "hint" }, `from the watched folder ${document.origin}`)] : [];
  const gone = button("Delete", () => deleteOne(document), { class: "quiet small", "aria-label": `Delete ${document.name}` });
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, opened, ...watched, ...document.warnings.map(warningView)),
    cell("Size", size(document.bytes)),
    cell(document.pages ? "Pages" : "", document.pages ? String(document.pages) : ""),
    cell("Passages", String(document.passages)),
    cell("Added", moment(document.added_at)),
    cell("", gone),
  );
}

async function deleteOne({ id, name, collection }) {
  if (!(await confirmed(`Delete ${name}? Nothing of it will be found or cited any more.`, "Delete"))) return;
  try {
    await remove(within(`documents/${encodeURIComponent(id)}`, collection));
    await showCollections();
    byId("documents-heading").focus(); // the button that had the focus is gone
  } catch (problem) {
    byId("documents-list").prepend(problemNote(problem));
  }
}
