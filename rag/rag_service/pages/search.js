// The retrieval view: what is found for a query, and why it stands where it stands.

import { chosen } from "./collections.js";
import { byId, problemNote } from "./dom.js";
import { passageList } from "./passages.js";
import { postJson } from "./service.js";
import { count } from "./words.js";

/** Lets the form search in the collection that is chosen. */
export function startSearching() {
  byId("search-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const content = { query: byId("query").value, collection: chosen(), top_k: Number(byId("search-top-k").value) };
    byId("search-state").textContent = "Searching…";
    try {
      const { hits } = await postJson("search", content);
      byId("search-state").textContent = hits.length ? `${count(hits.length, "passage")} found.` : "Nothing was found.";
      byId("hits").replaceChildren(passageList(hits, content.collection, "Passages found"));
    } catch (problem) {
      byId("search-state").textContent = "";
      byId("hits").replaceChildren(problemNote(problem));
    }
  });
}
