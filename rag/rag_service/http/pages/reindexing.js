// Making all vectors again, while search keeps working.

import { byId, problemNote } from "./dom.js";
import { cancel, followed } from "./jobs.js";
import { postJson, Problem } from "./service.js";
import { count } from "./words.js";

/** Lets the vectors be made again; `ended` is called when they are. */
export function startReindexing(ended) {
  byId("reindex").addEventListener("click", async () => {
    byId("reindex").disabled = true;
    byId("reindex-problem").replaceChildren();
    try {
      const { job } = await postJson("reindex", {});
      byId("reindex-cancel").onclick = () => cancel(job).catch((problem) => state(problem.detail));
      byId("reindex-cancel").hidden = false;
      const ending = await followed(job, ({ done, total }) => state(`${done} of ${count(total, "document")}…`));
      const { done, error } = ending;
      if (ending.state === "cancelled") throw new Problem({ title: "Cancelled", detail: "The vectors are as they were." });
      if (error) throw new Problem({ title: "The vectors are as they were", detail: error });
      state(`The vectors of ${count(done, "document")} are new.`);
      ended();
    } catch (problem) {
      state("");
      byId("reindex-problem").replaceChildren(problemNote(problem));
    } finally {
      byId("reindex").disabled = false;
      byId("reindex-cancel").hidden = true;
    }
  });
}

function state(text) {
  byId("reindex-state").textContent = text;
}
