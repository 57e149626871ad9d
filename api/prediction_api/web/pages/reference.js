// /docs: sends a call from the page and shows it as a command. Without a script the page is the reference alone.

import { byId, element } from "./dom.js";
import { askForKey, startKey } from "./key.js";
import { hasKey, keyHeader } from "./service.js";

const MOST_SHOWN = 200_000; // characters: more would make the tab slow
const QUOTE = "'\\''";

/** Gets the reference with the key. The content policy allows no other way from an answer to elements. */
function load() {
  const request = new XMLHttpRequest();
  request.open("GET", "docs");
  request.responseType = "document";
  for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
  request.onerror = () => (byId("subtitle").textContent = "The service does not answer. Is it running?");
  request.onload = () => {
    if (request.status !== 200) return askForKey(byId("subtitle"));
    byId("key").hidden = true;
    for (const id of ["subtitle", "reference"]) byId(id).replaceWith(request.response.getElementById(id));
    start();
    byId(location.hash.slice(1))?.scrollIntoView();
  };
  request.send();
}

function start() {
  for (const example of document.querySelectorAll(".example")) startForm(example);
}

function startForm(example) {
  const [form, command] = [example.querySelector("form"), example.querySelector(".command")];
  const [send, copy] = form.querySelectorAll("button");
  const showCommand = () => (command.textContent = commandOf(form, requestOf(form)));
  form.addEventListener("input", showCommand);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const { method, path } = form.dataset;
    if (method === "DELETE" && !confirm(`Send DELETE ${path}? It cannot be taken back.`)) return;
    send.disabled = true;
    await answer(form, requestOf(form));
    send.disabled = false;
  });
  copy.hidden = !navigator.clipboard; // there is none on a page that came over plain HTTP from another machine
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(command.textContent);
    copy.textContent = "Copied";
  });
  form.addEventListener("input", () => (copy.textContent = "Copy the command"));
  example.querySelector(".try").hidden = false;
  showCommand();
}

/** What the form says: `{url, headers, body, parts}`; what is empty or as the service has it by default is left out. */
function requestOf(form) {
  const { path, type } = form.dataset;
  const [query, headers, parts] = [new URLSearchParams(), {}, []];
  let [filled, body] = [path.slice(1), null];
  for (const field of form.querySelectorAll("[data-in]")) {
    const { name, value, files } = field;
    const place = field.dataset.in;
    if (place === "path" && value) filled = filled.replace(`{${name}}`, () => encodeURIComponent(value));
    else if (place === "body") body ??= value;
    else if (place === "file") body = files[0] ?? null;
    else if (files) parts.push(...[...files].map((file) => [name, file]));
    else if (isDefault(field)) continue;
    else if (place === "query") query.append(name, value);
    else if (place === "header") headers[name] = value;
    else if (place === "form") parts.push([name, value]);
  }
  if (body !== null) headers["Content-Type"] = type;
  const asked = query.size ? `?${query}` : "";
  return { url: new URL(filled + asked, location.href.split(/[?#]/)[0]).href, headers, body, parts };
}

const isDefault = ({ value, defaultValue, options }) => !value || value === (options ? defaultOf(options) : defaultValue);
const defaultOf = (options) => ([...options].find((option) => option.defaultSelected) ?? options[0]).value;

/** The same for a POSIX shell. The key stays out: the shell has it in a variable. */
function commandOf(form, { url, headers, body, parts }) {
  const { method, type } = form.dataset;
  const words = ["curl", ...(method === "GET" ? [] : ["-X", method]), quoted(decodedBraces(url))];
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (hasKey()) words.push("-H", '"X-API-Key: $API_KEY"');
  for (const [name, value] of parts) {
    if (value.name) words.push("-F", quoted(`${name}=@${value.name}`));
    else words.push("--form-string", quoted(`${name}=${value}`)); // -F reads a file where a value begins with @
  }
  const missing = [...form.querySelectorAll("[data-in=form][required]")].filter(({ files }) => files?.length === 0);
  for (const { name } of missing) words.push("-F", `${name}=@FILE`);
  if (body?.name) words.push("--data-binary", quoted(`@${body.name}`));
  // in JSON a line only ends between two values
  else if (body !== null) words.push("--data-binary", quoted(type === "application/json" ? body.replace(/\n\s*/g, " ") : body));
  return words.join(" ");
}

const quoted = (word) => (/^[\w:/.%~=@-]+$/.test(word) ? word : `'${word.replaceAll("'", QUOTE)}'`);
/** What is still to be filled in is shown as the path has it. */
const decodedBraces = (url) => url.replace(/%7B(\w+)%7D/g, "{$1}");

/** Sends the request and shows status, time and what comes; a stream as it comes. */
async function answer(form, { url, headers, body, parts }) {
  const { method, path, type: sentAs } = form.dataset;
  const state = element("p", { role: "status", class: "state" }, "Sending…");
  const label = `Answer to ${method} ${path} ${sentAs}`;
  const shown = element("pre", { class: "answer", role: "region", "aria-label": label, tabindex: "0", hidden: true });
  form.querySelectorAll(".state, .answer").forEach((old) => old.remove());
  form.append(state, shown);
  const sent = new FormData();
  for (const part of parts) sent.append(...part);
  const began = performance.now();
  try {
    const response = await fetch(url, { method, headers: { ...headers, ...keyHeader() }, body: parts.length ? sent : body });
    const type = response.headers.get("Content-Type") ?? "no body";
    const say = () => (state.textContent = `${response.status} ${response.statusText} · ${Math.round(performance.now() - began)} ms · ${type}`);
    say();
    shown.hidden = !response.headers.has("Content-Type");
    if (type.startsWith("text/event-stream")) {
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) shown.append(piece.value);
    } else shown.textContent = await textOf(response, type);
    say();
    if (response.status === 401) askForKey(byId("subtitle"));
  } catch {
    state.textContent = "The service gave no complete answer. Is it running?";
  }
}

async function textOf(response, type) {
  if (!/json|^text\//.test(type)) return `${(await response.blob()).size.toLocaleString("en")} bytes`;
  const text = await response.text();
  const whole = type.includes("json") ? indented(text) : text;
  if (whole.length <= MOST_SHOWN) return whole;
  return `${whole.slice(0, MOST_SHOWN)}\n… ${(whole.length - MOST_SHOWN).toLocaleString("en")} more characters`;
}

function indented(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

startKey(load);
if (byId("reference").childElementCount) start();
else load();
