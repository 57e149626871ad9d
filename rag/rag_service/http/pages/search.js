// The retrieval view: what is found for a query, why it stands where it stands, and what other settings change.

import { chosen } from "./collections.js";
import { byId, problemNote } from "./dom.js";
import { pairsIn } from "./fields.js";
import { passageList } from "./passages.js";
import { postJson } from "./service.js";
import { settings } from "./settings.js";
import { count } from "./words.js";

let before = { asked: "", ranks: new Map() };

/** Lets the form search in the collection that is chosen. */
export function startSearching() {
  byId("search-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const asked = {
      query: byId("query").value,
      collection: chosen(),
      top_k: Number(byId("search-top-k").value),
      metadata: pairsIn("search-metadata"),
    };
    byId("search-state").textContent = "Searching…";
    try {
      const { hits } = await postJson("search", { ...asked, ...settings() });
      byId("search-state").textContent = hits.length ? `${count(hits.length, "passage")} found.` : "Nothing was found.";
      byId("hits").replaceChildren(passageList(hits, asked.collection, "Passages found", movedFrom(asked, hits)));
    } catch (problem) {
      byId("search-state").textContent = "";
      byId("hits").replaceChildren(problemNote(problem));
    }
  });
}

/** How a hit's rank has changed since the same was asked before, with other settings. */
function movedFrom(asked, hits) {
  const same = before.asked === JSON.stringify(asked);
  const { ranks } = before;
  before = { asked: JSON.stringify(asked), ranks: new Map(hits.map((hit, index) => [hit.chunk_id, index + 1])) };
  return (hit, rank) => {
    if (!same || ranks.get(hit.chunk_id) === rank) return "";
    return ranks.has(hit.chunk_id) ? `was ${ranks.get(hit.chunk_id)}` : "new";
  };
}
