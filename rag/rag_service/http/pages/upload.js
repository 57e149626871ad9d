// Files into a collection: sent in groups, each taken in as a job whose progress and verdicts are shown as they come.

import { filesDropped, filesOf } from "./chosen_files.js";
import { chosen, onCollection, showCollections } from "./collections.js";
import { button, byId, element, problemNote } from "./dom.js";
import { pairsIn } from "./fields.js";
import { cancel, followed } from "./jobs.js";
import { sendFiles } from "./service.js";
import { count, warningsView } from "./words.js";

// Of what one request may hold (200 files, 128 MB) a small part: progress shows sooner.
const GROUP_FILES = 8;
const GROUP_BYTES = 16e6;
let busy = false;
let proposed = "default";

/** Lets the section take files: by its fields, which work with the keyboard, and by dropping some on it. */
export function startUploading() {
  onCollection(() => {
    if (byId("into").value === proposed) byId("into").value = chosen(); // what somebody typed stays
    proposed = chosen();
  });
  const zone = byId("drop");
  for (const field of [byId("files"), byId("folder")]) {
    field.addEventListener("change", async () => {
      await take(filesOf(field));
      field.value = ""; // the same file can be chosen again
    });
  }
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop") filesDropped(event.dataTransfer).then(take);
    });
  }
}

async function take(files) {
  if (!files.length || busy || !byId("into").reportValidity() || !byId("upload-metadata").reportValidity()) return;
  const collection = byId("into").value.trim();
  const metadata = pairsIn("upload-metadata");
  const told = new Telling(files.length);
  setBusy(true);
  for (const group of groupsOf(files)) {
    try {
      const job = await sendFiles(group, collection, metadata, (share) => told.sends(share, group.length));
      const { documents, error, state } = await followed(job.job, (now) => told.works(now));
      told.ends(documents, group.length);
      if (error) told.stopped({ title: "The job failed", detail: error });
      if (state === "cancelled") told.stopped({ title: "Cancelled", detail: "The files above were read; no other was." });
    } catch (problem) {
      told.ends(group.map((file) => ({ name: file.name, verdict: "failed", reason: problem.detail })), group.length);
      if (!problem.status || problem.status >= 500) told.stopped(problem);
    }
    if (told.isStopped) break;
  }
  setBusy(false);
  told.over();
  await showCollections(collection).catch(() => {}); // the verdicts stay; what is wrong shows at the next step
}

function setBusy(now) {
  busy = now;
  for (const id of ["files", "folder", "into", "upload-metadata"]) byId(id).disabled = now;
}

/** The files in groups that are small enough for one request each; a large file is alone. */
function groupsOf(files) {
  const groups = [[]];
  let bytes = 0;
  for (const file of files) {
    const full = groups.at(-1).length >= GROUP_FILES || bytes + file.file.size > GROUP_BYTES;
    if (full && groups.at(-1).length) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1).push(file);
    bytes += file.file.size;
  }
  return groups;
}

/** What is shown while files go in. */
class Telling {
  constructor(total) {
    this.total = total;
    this.done = 0; // files of the groups that are through
    this.judged = 0; // verdicts of the present group that are shown
    this.counts = {};
    this.isStopped = false;
    this.isCancelled = false;
    this.cancel = button("Cancel", () => (this.isCancelled = this.cancel.disabled = true), { class: "quiet small" });
    this.bar = element("progress", { "aria-label": "Progress", max: total, value: 0 });
    this.said = element("span", { role: "status" });
    this.list = element("ul", { class: "verdicts", "aria-label": "Verdicts" });
    byId("upload-state").replaceChildren(this.bar, element("p", { class: "row" }, this.said, this.cancel), this.list);
    this.say("Sending…");
  }

  sends(share, files) {
    this.say(share < 1 ? `Sending ${count(files, "file")}: ${Math.round(100 * share)}%` : "Waiting for the service…");
  }

  /** A job is under way: its verdicts so far, and what it reads now. */
  works({ job, state, done, current, documents, passages, passages_total: all }) {
    if (this.isCancelled && state === "running") cancel(job).catch(() => {}); // it is asked for again at the next look
    this.judge(documents);
    this.bar.value = this.done + done + (all ? passages / all : 0);
    const part = passages ? ` ${passages} of ${count(all, "passage")}` : ""; // of a long file
    this.say(current ? `Reading ${current}…${part}` : "Reading…");
  }

  /** A group of files is done, with these verdicts. */
  ends(verdicts, files) {
    this.judge(verdicts);
    this.judged = 0;
    this.done += files;
    this.bar.value = this.done;
  }

  judge(verdicts) {
    for (const one of verdicts.slice(this.judged)) {
      this.counts[one.verdict] = (this.counts[one.verdict] ?? 0) + 1;
      this.list.append(verdictView(one));
    }
    this.judged = verdicts.length;
  }

  stopped(problem) {
    this.isStopped = true;
    this.list.before(problemNote(problem));
  }

  over() {
    this.bar.hidden = this.cancel.hidden = true;
    this.say("");
  }

  say(what) {
    const counts = Object.entries(this.counts).map(([verdict, number]) => `${number} ${verdict}`).join(", ");
    const done = this.done + this.judged;
    this.said.textContent = `${done ? `${done} of ${count(this.total, "file")}: ${counts}.` : ""} ${what}`.trim();
  }
}

function verdictView({ name, verdict, passages, reason, warnings = [] }) {
  const told = reason ?? (verdict === "indexed" ? count(passages, "passage") : "The same bytes are there already.");
  const mark = element("span", { class: `kind ${verdict}` }, verdict);
  return element("li", {}, mark, element("strong", {}, name), element("span", { class: "hint" }, told), ...warningsView(warnings));
}
