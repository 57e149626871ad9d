// What moved a prediction most: one bar per feature, to the right what raised it and to the left what lowered it.

import { targetFormat } from "./answer.js";
import { element, measured } from "./dom.js";
import { given, withDecimals } from "./numbers.js";

const SHOWN_AT_ONCE = 5;

/** The elements that show an answer of /explain. */
export function explanationView(model, { prediction, typical_prediction: typical, contributions }) {
  if (!contributions.length) return [];
  const classes = model.task === "classification";
  const most = Math.abs(contributions[0].change);
  const rows = contributions.map((one) => row(one, most, classes ? points : targetFormat(model, "exceptZero")));
  const atOnce = Math.min(SHOWN_AT_ONCE, contributions.filter((one) => one.change).length);
  const made = [
    element("h3", {}, atOnce ? "What moved it most" : "Nothing moved it"),
    element("p", { class: "hint" }, "Each feature in turn replaced by what is typical of training. The changes need not add up."),
  ];
  if (atOnce) made.push(list("What moved it most", rows.slice(0, atOnce)));
  if (rows.length > atOnce) {
    const summary = element("summary", {}, `${rows.length - atOnce} that moved it ${atOnce ? "less" : "not at all"}`);
    made.push(element("details", {}, summary, list("What moved it less", rows.slice(atOnce))));
  }
  const written = classes ? typical : targetFormat(model)(typical);
  const measure = classes ? `Changes are of the probability of ${prediction}, in percentage points. ` : "";
  made.push(element("p", { class: "hint after" }, `${measure}With typical values throughout, the answer is ${written}.`));
  return made;
}

const points = (change) => withDecimals(change * 100, 1, "exceptZero");

const list = (name, rows) => element("ul", { class: "changes", "aria-label": name }, ...rows);

function row({ feature, value, typical, change }, most, written) {
  const same = value === typical;
  const kind = change > 0 ? "up" : change < 0 ? "down" : null;
  return element(
    "li",
    { class: kind },
    element("span", {}, feature),
    element("span", { class: "number" }, written(change)),
    element("span", { class: "hint" }, same ? `${given(value)}, as is typical` : `${given(value)} instead of ${given(typical)}`),
    measured(element("span", { class: "bar", "aria-hidden": "true" }), { share: most ? Math.abs(change) / most : 0 }),
  );
}
