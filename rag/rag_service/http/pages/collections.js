// The choice of a collection, which everything on the page refers to. A collection is there as long as it holds a document.

import { byId, element } from "./dom.js";
import { getJson } from "./service.js";

let there = []; // what the service said last
let offered = "";
let wanted = null; // what is to be chosen once the service has said what there is
let asked = 0;

/** The collection that is chosen. */
export const chosen = () => byId("collection").value || "default";

/** How many documents the chosen collection holds. */
export const documentsThere = () => sizes().get(chosen()) ?? 0;

const sizes = () => new Map(there.flatMap(({ name, documents, next }) => [[name, documents], [`${name}@next`, next ?? 0]]));

/** What the service said of the chosen collection: its name and how many documents its versions hold, or undefined. */
export const collectionChosen = () => there.find(({ name }) => name === chosen());

/** Asks which collections there are. `other` is chosen, unless somebody chooses meanwhile, else what is chosen already;
 * at first that which the page's address names, else the default one, or where it is empty another. Tells who listens. */
export async function showCollections(other) {
  wanted = other ?? wanted;
  asked += 1;
  const question = asked;
  const { collections } = await getJson("collections");
  if (question !== asked) return; // it was asked again meanwhile: the later answer counts
  there = collections;
  wanted ??= atFirst(collections);
  const shown = collections.some(({ name }) => name === wanted) ? collections : [...collections, { name: wanted, documents: 0 }];
  const news = JSON.stringify([shown, wanted]);
  if (news !== offered) offer(shown, wanted);
  offered = news;
  byId("no-documents").hidden = collections.length > 0;
  byId("collection").dispatchEvent(new Event("change"));
}

function atFirst(collections) {
  const names = collections.map(({ name }) => name);
  const named = new URLSearchParams(location.search).get("collection");
  return named ?? (names.includes("default") ? "default" : names[0] ?? "default");
}

function offer(shown, wanted) {
  const options = shown.map(({ name, documents }) =>
    element("option", { value: name, selected: name === wanted }, `${name} (${documents})`),
  );
  byId("collection").replaceChildren(...options);
  byId("known").replaceChildren(...shown.map(({ name }) => element("option", { value: name })));
}

/** Calls `action` whenever another collection is chosen, or the same one is chosen again. */
export const onCollection = (action) => byId("collection").addEventListener("change", action);

onCollection(() => (wanted = chosen())); // what somebody chooses is not taken back by an answer that was asked for before
