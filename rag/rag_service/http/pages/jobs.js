// Long work of the service: this page's own, followed until it ends, and what others have begun.

import { showCollections } from "./collections.js";
import { byId, element } from "./dom.js";
import { getJson } from "./service.js";

const LOOK_AGAIN_MS = 400;
const LOOK_FOR_OTHERS_MS = 3000;
const KINDS = { ingest: "Files are taken in", watch: "The watched folder is followed", reindex: "The vectors are made again" };
const own = new Set();
let others = "";

/** Follows a job; `tell` hears of every look at it. Gives the job as it ended. Throws Problem. */
export async function followed(job, tell) {
  own.add(job);
  for (;;) {
    const now = await getJson(`jobs/${encodeURIComponent(job)}`);
    tell(now);
    if (now.state !== "running") return now;
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
  }
}

/** Shows what others have begun, such as the watched folder, as long as somebody looks at the documents. */
export async function lookForOthers() {
  if (!document.hidden && !byId("documents").hidden) await showOthers().catch(() => {}); // it is looked for again
  setTimeout(lookForOthers, LOOK_FOR_OTHERS_MS);
}

async function showOthers() {
  const { jobs } = await getJson("jobs");
  const running = jobs.filter(({ job, state }) => state === "running" && !own.has(job));
  byId("others").replaceChildren(...running.map((job) => element("p", { class: "notice" }, told(job))));
  const ended = jobs.filter(({ job, state }) => state !== "running" && !own.has(job)).map(({ job }) => job).join();
  if (ended !== others) await showCollections();
  others = ended;
}

function told({ kind, done, total, current }) {
  return `${KINDS[kind] ?? kind}: ${done} of ${total}${current ? `, now ${current}` : ""}.`;
}
