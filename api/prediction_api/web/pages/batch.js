// Many rows: a CSV file chosen or dropped, a look at it, the service's answer as a CSV file to keep.

import { byId, element, problemNote } from "./dom.js";
import { sendFile } from "./service.js";
import { parse, tableOf, withoutColumns } from "./table.js";

const LOOKED_AT_BYTES = 65536;
const LOOKED_AT_LINES = 6; // the header and five rows
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
  const rows = parse(await file.slice(0, LOOKED_AT_BYTES).text(), LOOKED_AT_LINES);
  if (!rows.length) {
    byId("batch").replaceChildren(element("p", { role: "alert", class: "error" }, `${file.name} is empty.`));
    return;
  }
  const unknown = unknownColumns(rows[0], features);
  const send = element("button", { type: "button" }, "Predict all rows");
  send.addEventListener("click", () => predictAll(file, unknown, send));
  const caption = `${file.name}, ${sizeOf(file.size)}: ${rows[0].length} columns, the first rows`;
  const outcome = element("div", { id: "outcome", "aria-live": "polite" });
  const names = [...unknown].map((place) => rows[0][place]).join(", ");
  const left = unknown.size ? [element("p", { class: "hint" }, `Left out, because the model has no such feature: ${names}`)] : [];
  byId("batch").replaceChildren(tableOf(rows, caption), ...left, element("p", { class: "actions" }, send), outcome);
}

/** Places of the columns that are no feature. A feature under a wrong name is still missed by the service, and named. */
function unknownColumns(header, features) {
  const known = new Set(features.flatMap((feature) => [feature.name, feature.input]));
  return new Set([...header.keys()].filter((place) => !known.has(header[place].trim())));
}

async function predictAll(file, unknown, send) {
  giveBack();
  const stopping = new AbortController();
  const bar = element("progress", { "aria-label": "Progress", max: 1 });
  const doing = element("span", {}, "Sending…");
  const stop = element("button", { type: "button", class: "quiet" }, "Stop");
  stop.addEventListener("click", () => stopping.abort());
  byId("outcome").replaceChildren(element("p", { class: "working" }, bar, doing, stop));
  send.disabled = true;
  try {
    const body = unknown.size ? new Blob([withoutColumns(parse(await file.text()), unknown)]) : file;
    const answer = await sendFile("predict/batch?safe=1", body, stopping.signal, (what, share) => {
      doing.textContent = what;
      if (share === null) bar.removeAttribute("value");
      else bar.value = share;
    });
    byId("outcome").replaceChildren(...(await answerView(file, answer)));
  } catch (problem) {
    byId("outcome").replaceChildren(...(problem.name === "AbortError" ? [element("p", {}, "Stopped.")] : refusalView(problem)));
  } finally {
    send.disabled = false;
  }
}

async function answerView(file, answer) {
  const count = (await answer.text()).trimEnd().split("\n").length - 1;
  const rows = parse(await answer.slice(0, LOOKED_AT_BYTES).text(), LOOKED_AT_LINES);
  const name = `${file.name.replace(/\.[^.]*$/, "")}-predictions.csv`;
  giveBack();
  offered = URL.createObjectURL(answer);
  const link = element("a", { class: "button", download: name, href: offered }, `Download ${name}`);
  const told = `${count.toLocaleString("en")} ${count === 1 ? "prediction" : "predictions"}, in the order of the rows.`;
  return [element("p", {}, element("strong", {}, told)), element("p", {}, link), tableOf(rows, "The first predictions")];
}

function giveBack() {
  URL.revokeObjectURL(offered);
  offered = "";
}

/** The problem, and each fault with its place, in the service's words. */
function refusalView(problem) {
  const faults = problem.errors.map(({ loc, msg }) => element("li", {}, element("strong", {}, loc.join(" ")), `: ${msg}`));
  return faults.length ? [problemNote(problem), element("ul", { class: "faults" }, ...faults)] : [problemNote(problem)];
}

function sizeOf(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${Math.round(bytes / 1000)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
