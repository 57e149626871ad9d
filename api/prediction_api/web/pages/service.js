// The calls to the service. Addresses are relative, so that the page also works behind a proxy's prefix.

const KEY = "api-key";
const AWAY = { status: 0, detail: "The service does not answer.", hint: "Is it running? Try again shortly." };

/** What the service refused, as its problem document says it. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail);
    Object.assign(this, { title: "No answer", hint: "", errors: [] }, document);
  }
}

let prefix = "";

/** All further calls are this model's; without a name, the default model's. */
export function useModel(name) {
  prefix = name ? `models/${encodeURIComponent(name)}/` : "";
}

/** Which models are served. */
export const getModels = () => fetched("models");

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

export const keepKey = (key) => sessionStorage.setItem(KEY, key);

export const getJson = (path) => call(path);

export function postJson(path, content) {
  return call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content) });
}

/** The answer's JSON. Throws Problem for every answer but a success, also when the service is away. */
const call = (path, options) => fetched(prefix + path, options);

async function fetched(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { ...options.headers, ...keyHeader() } }).catch(() => null);
  if (response === null) throw new Problem(AWAY);
  if (!response.ok) throw problemOf(response.status, await response.text());
  return response.json();
}

/**
 * Sends a CSV file and gives the answer, `{blob, header(name)}`. `tell(what, share)` hears how far it is; a share of null
 * is not known. Only XMLHttpRequest tells of the sending. Throws Problem, or AbortError once `signal` says stop.
 */
export function sendFile(path, file, signal, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", prefix + path);
    request.responseType = "blob";
    request.setRequestHeader("Content-Type", "text/csv");
    for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => tell("Sending…", event.loaded / event.total);
    request.upload.onload = () => tell("The service checks and predicts…", null);
    request.onprogress = (event) => tell("Receiving…", event.lengthComputable ? event.loaded / event.total : null);
    request.onerror = () => reject(new Problem(AWAY));
    request.onabort = () => reject(new DOMException("stopped", "AbortError"));
    request.onload = async () => {
      if (request.status === 200) resolve({ blob: request.response, header: (name) => request.getResponseHeader(name) });
      else reject(problemOf(request.status, await request.response.text()));
    };
    signal.addEventListener("abort", () => request.abort());
    request.send(file);
  });
}

export function keyHeader() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

function problemOf(status, text) {
  try {
    return new Problem(JSON.parse(text));
  } catch {
    return new Problem({ status, detail: `The service answered ${status}.` });
  }
}
