// Elements made without markup: every text goes in as text, so nothing that a document or the service says becomes HTML.

export const byId = (id) => document.getElementById(id);

/** An element with these attributes (null, undefined and false leave one out) and children; strings become text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A button that does `action` when pressed. */
export function button(text, action, attributes = {}) {
  const made = element("button", { type: "button", ...attributes }, text);
  made.addEventListener("click", action);
  return made;
}

/** A bar for a share from 0 to 1; what it says stands beside it as text. */
export function bar(share) {
  const made = element("span", { class: "bar", "aria-hidden": "true" });
  made.style.setProperty("--share", Math.max(0, share)); // the content policy allows no style attribute
  return made;
}

/** A problem of the service as it says it. */
export function problemNote(problem) {
  const note = element("div", { class: "problem", role: "alert" }, element("strong", {}, problem.title));
  note.append(element("p", {}, problem.detail));
  if (problem.hint) note.append(element("p", { class: "hint" }, problem.hint));
  return note;
}
