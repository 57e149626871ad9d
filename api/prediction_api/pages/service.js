// The calls to the service. Addresses are relative, so that the page also works behind a proxy's prefix.

const KEY = "api-key";

/** What the service refused, as its problem document says it. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail);
    Object.assign(this, { title: "No answer", hint: "", errors: [] }, document);
  }
}

export const keepKey = (key) => sessionStorage.setItem(KEY, key);

/** The response to a call. Throws Problem for every answer but a success, also when the service is away. */
export async function call(path, options = {}) {
  const headers = { ...options.headers };
  const key = sessionStorage.getItem(KEY);
  if (key) headers["X-API-Key"] = key;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem({ status: 0, detail: "The service does not answer.", hint: "Is it running? Try again shortly." });
  }
  if (response.ok) return response;
  const fallback = { status: response.status, detail: `The service answered ${response.status}.` };
  throw new Problem(await response.json().catch(() => fallback));
}

export const getJson = async (path) => (await call(path)).json();

export async function postJson(path, content) {
  const headers = { "Content-Type": "application/json" };
  const response = await call(path, { method: "POST", headers, body: JSON.stringify(content) });
  return response.json();
}
