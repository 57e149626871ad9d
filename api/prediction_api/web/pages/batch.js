// Many rows: a CSV file chosen or dropped, a look at it, the service's answer as a CSV file to keep.

import { byId, element, problemNote } from "./dom.js";
import { sendFile } from "./service.js";
import { someRows, tableOf } from "./table.js";

const LOOKED_AT_BYTES = 65536;
const LOOKED_AT_ROWS = 5;
const MOST_FAULTS = 20; // that the service lists
let offered = ""; // the address of the answer to keep; the browser holds the whole file until it is given back

/**
 * Lets the section take files: by the file field, which works with the keyboard, and by dropping one on it.
 * `features()` gives those of the model that is served at that moment.
 */
export function startBatch(features) {
  const zone = byId("drop");
  const take = (file) => file && look(file, features());
  byId("file").addEventListener("change", (event) => take(event.target.files[0]));
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer.files[0]);
    });
  }
}

async function look(file, features) {
  giveBack();
  const rows = someRows(await file.slice(0, LOOKED_AT_BYTES).text(), LOOKED_AT_ROWS);
  if (!rows.length) {
    byId("batch").replaceChildren(element("p", { role: "alert", class: "error" }, `${file.name} is empty.`));
    return;
  }
  const send = element("button", { type: "button" }, "Predict all rows");
  send.addEventListener("click", () => predictAll(file, features));
  const caption = `${file.name}, ${sizeOf(file.size)}: ${rows[0].cells.length} columns, the first rows`;
  const preview = element("div", { id: "preview" }, tableOf(rows, caption, new Map()));
  const outcome = element("div", { id: "outcome", "aria-live": "polite" });
  const others = rows[0].cells.filter((name) => !featureOf(name, features));
  const told = `Not a feature of the model, so only copied into the answer: ${others.join(", ")}`;
  const hint = others.length ? [element("p", { class: "hint" }, told)] : [];
  byId("batch").replaceChildren(preview, ...hint, element("p", { class: "actions" }, send), outcome);
}

const featureOf = (column, features) => features.find(({ name, input }) => [name, input].includes(column.trim()));

/** Sends the file; with `skipping`, rows that do not fit are not predicted, else they refuse the whole. */
async function predictAll(file, features, skipping = false) {
  giveBack();
  const stopping = new AbortController();
  const bar = element("progress", { "aria-label": "Progress", max: 1 });
  const doing = element("span", {}, "Sending…");
  const stop = element("button", { type: "button", class: "quiet" }, "Stop");
  const send = byId("batch").querySelector(".actions button");
  stop.addEventListener("click", () => stopping.abort());
  byId("outcome").replaceChildren(element("p", { class: "working" }, bar, doing, stop));
  send.disabled = true;
  try {
    const path = `predict/batch?safe=true&passthrough=true&skip_invalid=${skipping}`;
    const answer = await sendFile(path, file, stopping.signal, (what, share) => {
      doing.textContent = what;
      if (share === null) bar.removeAttribute("value");
      else bar.value = share;
    });
    byId("outcome").replaceChildren(...(await answerView(file, answer)));
  } catch (problem) {
    if (problem.name === "AbortError") byId("outcome").replaceChildren(element("p", {}, "Stopped."));
    else byId("outcome").replaceChildren(...(await refusalView(file, features, problem, skipping)));
  } finally {
    send.disabled = false;
  }
}

async function answerView(file, { blob, header }) {
  const rows = someRows(await blob.slice(0, LOOKED_AT_BYTES).text(), LOOKED_AT_ROWS);
  const name = `${file.name.replace(/\.[^.]*$/, "")}-predictions.csv`;
  giveBack();
  offered = URL.createObjectURL(blob);
  const link = element("a", { class: "button", download: name, href: offered }, `Download ${name}`);
  const told = `${count(header("X-Predicted-Rows"), "prediction")}, in the order of the rows.`;
  const made = [element("p", {}, element("strong", {}, told))];
  if (header("X-Skipped-Rows")) made.push(element("p", { class: "callout" }, skippedText(header)));
  return [...made, element("p", {}, link), tableOf(rows, "The first predictions")];
}

function skippedText(header) {
  const all = Number(header("X-Skipped-Rows"));
  const lines = header("X-Skipped-Lines").split(", ");
  const more = all > lines.length ? ` and ${all - lines.length} more` : "";
  const where = `${all === 1 ? "line" : "lines"} ${lines.join(", ")}${more}`;
  return `${count(all, "row")} left out, ${where}. The last column of the file, error, says why.`;
}

/** count("1", "row") -> "1 row"; count(1200, "row") -> "1,200 rows". */
const count = (number, what) => `${Number(number).toLocaleString("en")} ${what}${Number(number) === 1 ? "" : "s"}`;

function giveBack() {
  URL.revokeObjectURL(offered);
  offered = "";
}

/** The problem, and each fault with its place, in the service's words; and a way on without the rows that are wrong. */
async function refusalView(file, features, problem, skipped) {
  if (!problem.errors.length) return [problemNote(problem)];
  const least = problem.errors.length >= MOST_FAULTS ? "at least " : "";
  const told = `No row was predicted, because of ${least}${count(problem.errors.length, "fault")}:`;
  const made = [problemNote({ ...problem, detail: told })];
  const faults = problem.errors.map(({ loc, msg }) => element("li", {}, element("strong", {}, loc.join(" ")), `: ${msg}`));
  made.push(element("ul", { class: "faults" }, ...faults));
  const rows = await markFaults(file, features, problem.errors);
  if (!skipped && rows > 0 && problem.errors.every(({ loc }) => loc[1] > 1)) {
    const others = element("button", { type: "button" }, "Predict the other rows");
    others.addEventListener("click", () => predictAll(file, features, true));
    byId("batch").querySelector(".actions button").classList.add("quiet"); // the file is the same: it would be refused again
    made.push(element("p", { class: "actions" }, others));
  }
  return made;
}

/** Shows the rows that are wrong too, with a mark on each fault; returns how many rows are shown. */
async function markFaults(file, features, errors) {
  const lines = errors.map(({ loc }) => loc[1]);
  const rows = someRows(await file.text(), LOOKED_AT_ROWS, lines);
  const faults = new Map(lines.map((line) => [line, new Set()]));
  for (const { loc } of errors) {
    const place = rows[0].cells.findIndex((column) => column.trim() === loc[2] || featureOf(column, features)?.name === loc[2]);
    if (place >= 0) faults.get(loc[1]).add(place);
  }
  byId("preview").replaceChildren(tableOf(rows, `${file.name}: the first rows, and those that do not fit`, faults));
  return rows.length - 1;
}

function sizeOf(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
