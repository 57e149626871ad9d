// The calls to the service. Addresses are relative, so that the page also works behind a proxy's prefix.

const KEY = "api-key";
const AWAY = { status: 0, detail: "The service does not answer.", hint: "Is it running? Try again shortly." };

/** What the service refused, as its problem document says it. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail);
    Object.assign(this, { title: "No answer", hint: "" }, document);
  }
}

export const hasKey = () => sessionStorage.getItem(KEY) !== null;

/** Keeps the key in this tab until it is closed. */
export const keepKey = (key) => sessionStorage.setItem(KEY, key);

export const getJson = async (path) => (await call(path)).json();
export const post = (path, content) => call(path, posted(content));
export const postJson = async (path, content) => (await post(path, content)).json();

/** An image, and how far down on it the mark is, from 0 to 1; null where nothing is marked. Throws Problem. */
export async function getImage(path) {
  const response = await call(path);
  const markedAt = response.headers.get("X-Marked-At");
  return { image: await createImageBitmap(await response.blob()), markedAt: markedAt === null ? null : Number(markedAt) };
}

export const remove = (path) => call(path, { method: "DELETE" });

/** `path` with a collection's name as its query. */
export const within = (path, collection) => `${path}?${new URLSearchParams({ collection })}`;

/** Asks, and gives the events of the answer as `[name, data]`, each when it comes. Throws Problem, or AbortError. */
export async function* ask(question, signal) {
  const response = await call("ask", { ...posted(question, { Accept: "text/event-stream" }), signal });
  for await (const event of eventsOf(response.body.pipeThrough(new TextDecoderStream()))) {
    if (event[0] === "error") throw new Problem(event[1]);
    yield event;
  }
}

async function* eventsOf(pieces) {
  const reader = pieces.getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => Promise.reject(lost(error)));
    if (done) return;
    text += value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const event of whole) {
      const field = (name) => event.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      yield [field("event"), JSON.parse(field("data"))];
    }
  }
}

/**
 * Sends files `{file, name}`, to be taken in as a job, and gives the job. `tell(share)` hears how much of them is sent;
 * only XMLHttpRequest tells of that. Throws Problem.
 */
export function sendFiles(files, collection, metadata, tell) {
  const body = new FormData();
  body.append("collection", collection);
  body.append("metadata", JSON.stringify(metadata));
  for (const { file, name } of files) body.append("files", file, name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "documents?background=true");
    for (const [name, value] of Object.entries(keyHeader())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => tell(event.loaded / event.total);
    request.onerror = () => reject(new Problem(AWAY));
    request.onload = () => {
      if (request.status === 202) resolve(JSON.parse(request.responseText));
      else reject(problemOf(request.status, request.responseText));
    };
    request.send(body);
  });
}

/** The response. Throws Problem for every answer but a success, also when the service is away. */
async function call(path, options = {}) {
  const headers = { ...options.headers, ...keyHeader() };
  const response = await fetch(path, { ...options, headers }).catch((error) => Promise.reject(lost(error)));
  if (!response.ok) throw problemOf(response.status, await response.text());
  return response;
}

const posted = (content, headers = {}) => ({
  method: "POST",
  headers: { "Content-Type": "application/json", ...headers },
  body: JSON.stringify(content),
});

const lost = (error) => (error.name === "AbortError" ? error : new Problem(AWAY));

export function keyHeader() {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

function problemOf(status, text) {
  if (status === 401) document.dispatchEvent(new Event("keywanted"));
  try {
    return new Problem(JSON.parse(text));
  } catch {
    return new Problem({ status, detail: `The service answered ${status}.` });
  }
}
