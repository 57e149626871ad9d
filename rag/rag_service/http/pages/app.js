// The page's frame: which view is shown, whether the service is ready, and which collection everything refers to.

import { askFromAddress, startAsking } from "./ask.js";
import { showCollections } from "./collections.js";
import { startConfirming } from "./confirm.js";
import { startDocuments } from "./documents.js";
import { byId, element } from "./dom.js";
import { lookForOthers } from "./jobs.js";
import { askForKey, startKey } from "./key.js";
import { startReader } from "./reader.js";
import { startReindexing } from "./reindexing.js";
import { showSamples, startSamples } from "./samples.js";
import { startSearching } from "./search.js";
import { getJson } from "./service.js";
import { startSettings } from "./settings.js";
import { startUploading } from "./upload.js";
import { startVersions } from "./versions.js";

const LOOK_AGAIN_MS = 2000;
const VIEWS = ["ask", "search", "documents"];

/** Shows the view that the address names; an address that names none, such as the skip link's, changes nothing. */
function showView(moved) {
  const named = location.hash.slice(1);
  if (!VIEWS.includes(named) && moved) return;
  const chosen = VIEWS.includes(named) ? named : VIEWS[0];
  for (const view of VIEWS) {
    byId(view).hidden = view !== chosen;
    const link = document.querySelector(`nav a[href="#${view}"]`);
    if (view === chosen) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const heading = byId(chosen).querySelector("h1");
  document.title = `${heading.textContent} – Question answering`;
  if (moved) heading.focus();
}

/** Waits for the models, and says meanwhile what the service says. */
async function waitUntilReady() {
  while (!(await isReady())) await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
}

async function isReady() {
  try {
    const { embedder, generator, sent_to: host, without_generator: why, needs_reindex: stale } = await getJson("readyz");
    byId("not-ready").hidden = true;
    byId("needs-reindex").hidden = !stale;
    byId("needs-reindex").textContent = stale ?? "";
    const written = generator ?? "none, so answers are quotations";
    const sent = host ? ` Questions and passages are sent to ${host}.` : "";
    byId("models").replaceChildren(element("p", {}, `Embedder: ${embedder}. Generator: ${written}.${sent}`));
    if (why) byId("models").append(element("details", {}, element("summary", {}, "Why there is no generator"), why));
    return true;
  } catch (problem) {
    byId("not-ready").hidden = false;
    byId("not-ready-title").textContent = problem.title;
    byId("not-ready-text").textContent = `${problem.detail} ${problem.hint}`;
    return false;
  }
}

startKey(() => location.reload());
document.addEventListener("keywanted", () => askForKey());
startReader();
startConfirming();
startAsking();
startSamples();
startSearching();
startSettings().catch(() => {}); // a search works without
startDocuments();
startUploading();
startVersions();
startReindexing(isReady);
lookForOthers();
window.addEventListener("hashchange", () => showView(true));
showView(false);
waitUntilReady().then(askFromAddress).then(showSamples);
showCollections().catch(() => {}); // what is wrong is said by what waits for the service to be ready
