// The documents of the chosen collection: looked at, looked for by name, deleted.

import { chosen, documentsThere, onCollection, showCollections } from "./collections.js";
import { confirmed } from "./confirm.js";
import { button, byId, element, problemNote } from "./dom.js";
import { read } from "./reader.js";
import { getJson, remove, within } from "./service.js";
import { count, moment, pairs, size, warningsView } from "./words.js";

const ROWS = 100;
const MOST_ROWS = 10_000; // as many as the service lists at once; others are found by name
const FILTERED_FROM = 8;
const MOST_PROPOSED = 50;
let rows = ROWS;
let collection = null;
let shown = "";

/** Lists the documents each time a collection is chosen, and proposes their names where a name is asked for. */
export function startDocuments() {
  onCollection(showDocuments);
  byId("filter").addEventListener("input", showDocuments);
  byId("more").addEventListener("click", () => {
    rows += ROWS;
    showDocuments();
  });
  byId("delete-collection").addEventListener("click", deleteCollection);
  for (const id of ["ask-only", "only"]) {
    byId(id).addEventListener("input", async (event) => {
      const { documents } = await list(event.target.value.trim(), MOST_PROPOSED).catch(() => ({ documents: [] }));
      if (documents.length) propose(documents);
    });
  }
}

const list = (name, limit) => getJson(`documents?${new URLSearchParams({ collection: chosen(), name, limit })}`);

function propose(documents) {
  byId("names").replaceChildren(...documents.slice(0, MOST_PROPOSED).map(({ name }) => element("option", { value: name })));
}

async function showDocuments() {
  if (collection !== chosen()) [collection, rows, byId("filter").value] = [chosen(), ROWS, ""];
  const asked = JSON.stringify([collection, byId("filter").value.trim(), rows]);
  const isCurrent = () => asked === JSON.stringify([chosen(), byId("filter").value.trim(), rows]);
  try {
    const { documents, next } = await list(byId("filter").value.trim(), rows);
    if (!isCurrent()) return; // something else was asked for meanwhile
    const news = JSON.stringify([asked, documentsThere(), documents]);
    if (news === shown) return; // what has not changed stays untouched: somebody may be on one of its buttons
    shown = news;
    show(documents, next !== null);
  } catch (problem) {
    shown = "";
    byId("documents-list").replaceChildren(problemNote(problem));
  }
}

function show(documents, mayBeMore) {
  const isFiltered = Boolean(byId("filter").value.trim());
  const all = Math.max(documentsThere(), documents.length);
  const isPart = isFiltered ? mayBeMore : documents.length < all;
  if (!isFiltered) propose(documents);
  byId("filter-row").hidden = all < FILTERED_FROM;
  byId("delete-collection").hidden = !all;
  byId("more").hidden = !isPart || rows >= MOST_ROWS;
  if (!all) byId("documents-state").textContent = byId("no-documents").hidden ? `The collection ${chosen()} holds no document.` : ""; // that says it
  else if (isFiltered || isPart) byId("documents-state").textContent = `${documents.length}${isFiltered && isPart ? " or more" : ""} of ${count(all, "document")}.`;
  else byId("documents-state").textContent = `${count(all, "document")}.`;
  byId("documents-list").replaceChildren(...(documents.length ? [table(documents)] : []));
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
  const facts = [document.origin ? `from the watched folder ${document.origin}` : "", pairs(document.metadata)].filter(Boolean);
  const gone = button("Delete", () => deleteOne(document), { class: "quiet small", "aria-label": `Delete ${document.name}` });
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, opened, ...facts.map((fact) => element("p", { class: "hint" }, fact)), ...warningsView(document.warnings)),
    cell("Size", size(document.bytes)),
    cell(document.pages ? "Pages" : "", document.pages ? String(document.pages) : ""),
    cell("Passages", String(document.passages)),
    cell("Added", moment(document.added_at)),
    cell("", gone),
  );
}

async function deleteOne({ id, name, collection }) {
  if (await confirmed(`Delete ${name}? Nothing of it will be found or cited any more.`, "Delete")) {
    await change(() => remove(within(`documents/${encodeURIComponent(id)}`, collection)), collection);
  }
}

async function deleteCollection() {
  const name = chosen();
  if (await confirmed(`Delete the collection ${name} with ${count(documentsThere(), "document")}? There is no way back.`, "Delete")) {
    await change(() => remove(`collections/${encodeURIComponent(name)}`), "default");
  }
}

/** Does it, and chooses the collection `then`. */
async function change(work, then) {
  try {
    await work();
    await showCollections(then);
    byId("documents-heading").focus(); // the button that had the focus is gone
  } catch (problem) {
    byId("documents-list").prepend(problemNote(problem));
  }
}
