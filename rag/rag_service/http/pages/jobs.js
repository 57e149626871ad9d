// Long work of the service: this page's own, followed until it ends, and what others have begun.

import { showCollections } from "./collections.js";
import { button, byId, element } from "./dom.js";
import { getJson, remove } from "./service.js";
import { moment } from "./words.js";

const LOOK_AGAIN_MS = 400;
const LOOK_FOR_OTHERS_MS = 3000;
const FAILING_JOBS = 10;
const KINDS = { ingest: "Files are taken in", watch: "The watched folder is followed", reindex: "The vectors are made again", evaluate: "Questions are asked to evaluate" };
const own = new Set();
const shown = new Map(); // job -> what is shown of it
let ended = "";
let failed = ""; // the jobs whose failures are listed

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
  const others = jobs.filter(({ job }) => !own.has(job));
  for (const one of others) showOne(one);
  await showFailures(jobs);
  const over = others.filter(({ state }) => state !== "running").map(({ job }) => job).join();
  if (over !== ended) await showCollections();
  ended = over;
}

/** The files that ended jobs could not read, the newest first: they are here after the page was loaded again, too. */
async function showFailures(jobs) {
  const failing = jobs.filter(({ state, counts }) => state !== "running" && counts.failed).slice(0, FAILING_JOBS);
  const news = failing.map(({ job }) => job).join();
  if (news === failed) return;
  const read = await Promise.all(failing.map(({ job }) => getJson(`jobs/${encodeURIComponent(job)}`)));
  const views = read.flatMap(({ ended_at: at, documents }) =>
    documents.filter(({ verdict }) => verdict === "failed").map(({ name, reason }) =>
      element("li", {}, element("strong", {}, name), element("span", { class: "hint" }, `${reason} ${moment(at)}.`)),
    ),
  );
  byId("failures").hidden = !views.length;
  byId("failures-list").replaceChildren(...views);
  failed = news;
}

/** What is shown already stays: somebody may be on its button. */
function showOne(job) {
  if (job.state !== "running") {
    shown.get(job.job)?.remove();
    shown.delete(job.job);
    return;
  }
  if (!shown.has(job.job)) {
    shown.set(job.job, element("p", { class: "notice row" }, element("span"), cancelButton(job.job)));
    byId("others").append(shown.get(job.job));
  }
  shown.get(job.job).firstChild.textContent = told(job);
}

/** Lets a job end at its next step. */
export const cancel = (job) => remove(`jobs/${encodeURIComponent(job)}`);

function cancelButton(job) {
  const made = button("Cancel", () => cancel(job).catch((problem) => made.replaceWith(problem.detail)), { class: "quiet small" });
  return made;
}

function told({ kind, done, total, current }) {
  return `${KINDS[kind] ?? kind}: ${done} of ${total}${current ? `, now ${current}` : ""}.`;
}
