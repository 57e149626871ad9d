// The form: one field for each feature of the contract, and from its fields back to a row.

import { byId, element } from "./dom.js";

/** Fills `fields` with a field per feature, with this row's values; those typed before stay where the feature does. */
export function buildForm(features, row) {
  const typed = new Map([...byId("fields").querySelectorAll("[name]")].map((field) => [field.name, field.value]));
  byId("fields").replaceChildren(...features.map(fieldFor));
  forEachField(features, (feature, field) => {
    const before = typed.get(feature.name);
    const offered = !field.options || [...field.options].some((option) => option.value === before);
    field.value = before !== undefined && offered ? before : cell(row[feature.name]);
    noteRange(feature, field);
  });
}

/** The row as the service takes it. What is no number goes as typed: the service says best what is wrong with it. */
export function readRow(features) {
  const row = {};
  forEachField(features, (feature, field) => {
    const text = field.value.trim();
    if (text === "") row[feature.name] = null;
    else if (feature.type === "boolean") row[feature.name] = text === "true";
    else if (feature.type !== "number" || !Number.isFinite(Number(text))) row[feature.name] = field.value;
    else row[feature.name] = Number(text);
  });
  return row;
}

/** Marks each field that `errors` names and moves the focus to the first; none are marked for an empty list. */
export function markErrors(features, errors) {
  const wrong = [];
  forEachField(features, (feature, field) => {
    const found = errors.find((error) => [feature.name, feature.input].includes(error.loc.at(-1)));
    byId(`${field.id}-error`).textContent = found ? found.msg : "";
    if (found) wrong.push(field);
    if (found) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  });
  wrong[0]?.focus();
}

/** Another row, and no marks. */
export function fillForm(features, row) {
  markErrors(features, []);
  forEachField(features, (feature, field) => {
    field.value = cell(row[feature.name]);
    noteRange(feature, field);
  });
}

const cell = (value) => (value === null ? "" : String(value));

function forEachField(features, action) {
  features.forEach((feature, place) => action(feature, byId(`feature-${place}`)));
}

function fieldFor(feature, place) {
  const id = `feature-${place}`;
  const label = element("label", { for: id }, feature.name);
  if (feature.unit) label.append(" ", element("span", { class: "unit" }, feature.unit));
  const shared = { id, name: feature.name, "aria-describedby": `${id}-hint ${id}-error`, autocomplete: "off" };
  const hint = element("span", { class: "hint", id: `${id}-hint` });
  const error = element("span", { class: "error", id: `${id}-error`, "aria-live": "polite" });
  return element("div", { class: "field" }, label, ...controlsFor(feature, shared), hint, error);
}

function controlsFor(feature, shared) {
  if (feature.type === "boolean") return [choice(feature, shared, ["true", "false"])];
  if (feature.type === "category" && feature.unknown === "refuse") return [choice(feature, shared, feature.categories)];
  if (feature.type === "number") return [input(feature, { ...shared, type: "text", inputmode: "decimal" })];
  if (feature.type === "date") {
    // a field for dates would empty itself of a value that has a time of day
    const plain = feature.format === "iso" && !feature.parts.some(({ part }) => part === "seconds");
    return [input(feature, { ...shared, type: plain ? "date" : "text" })];
  }
  const known = element("datalist", { id: `${shared.id}-known` });
  known.append(...feature.categories.map((name) => element("option", { value: name })));
  return [input(feature, { ...shared, type: "text", list: known.id }), known];
}

function input(feature, attributes) {
  // a text field for numbers: a number field would silently empty itself of what it cannot read
  const field = element("input", attributes);
  field.required = !feature.nullable;
  field.addEventListener("input", () => noteRange(feature, field));
  return field;
}

function choice(feature, shared, values) {
  const options = values.map((name) => element("option", { value: name }, name));
  if (feature.nullable) options.unshift(element("option", { value: "" }, "not known"));
  return element("select", shared, ...options);
}

/** Says the range seen in training, and louder when the value lies outside: the model only guesses there. */
function noteRange(feature, field) {
  const hint = byId(`${field.id}-hint`);
  const known = feature.low !== null && feature.low !== undefined && feature.high !== null && feature.high !== undefined;
  const range = feature.type === "number" && known ? `${feature.low} to ${feature.high}` : "";
  const value = Number(field.value);
  const outside = range && field.value.trim() !== "" && (value < feature.low || value > feature.high);
  const empty = feature.nullable && !field.options ? "may stay empty" : "";
  const timed = feature.type === "date" && feature.format === "iso" && field.type === "text";
  const form = timed ? "as 2026-03-29T14:30:00, in UTC or with its zone" : feature.type === "date" && feature.format !== "iso" ? `as ${feature.example}` : "";
  const typed = field.value.trim();
  const unknown = feature.type === "category" && !field.options && typed !== "" && !feature.categories.includes(typed);
  if (unknown) hint.textContent = "training did not see this: it is predicted without it";
  else hint.textContent = outside ? `training saw only ${range}` : [range, form, empty].filter(Boolean).join(" · ");
  hint.classList.toggle("outside", Boolean(outside || unknown));
}
