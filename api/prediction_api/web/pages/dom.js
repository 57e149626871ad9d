// Elements made without markup: every text goes in as text, so nothing that the service or a file says can become HTML.

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

/** Sets CSS custom properties, for lengths that come from numbers. The content policy allows no style attribute. */
export function measured(made, properties) {
  for (const [name, value] of Object.entries(properties)) made.style.setProperty(`--${name}`, value);
  return made;
}

/** A link into a page that the navigation has; where it does not, the words alone. */
export function pageLink(page, path, text) {
  const anchor = [...document.querySelectorAll(".site a")].find((one) => one.textContent === page);
  return anchor ? element("a", { href: new URL(path, anchor.href).href }, text) : text;
}

/** A problem of the service as it says it, with the way to what it means. */
export function problemNote(problem) {
  const note = element("div", { class: "problem", role: "alert" }, element("strong", {}, problem.title));
  note.append(element("p", {}, problem.detail));
  if (problem.hint) note.append(element("p", { class: "hint" }, problem.hint));
  if (problem.type?.startsWith("/docs#")) {
    note.append(element("a", { href: problem.type.slice(1) }, "What this error means"));
  }
  return note;
}
