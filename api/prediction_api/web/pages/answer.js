// One answer: the prediction, and how sure it is - an interval on the scale of the model's predictions, or probabilities.

import { element, measured } from "./dom.js";
import { chance, decimalsFor, figure, percent, withDecimals } from "./numbers.js";

const MOST_LABELS = 8;

/** How a number of the target is written: as exactly as the interval allows, or the spread of the predictions. */
export function targetFormat(model, signDisplay = "auto") {
  const edges = model.prediction_histogram?.edges ?? [];
  const spread = model.interval?.half_width || (edges.at(-1) - edges[0]) / 10;
  return (value) => (spread > 0 ? withDecimals(value, decimalsFor(spread), signDisplay) : figure(value, signDisplay));
}

/** The elements that show an answer of /predict. */
export function answerView(model, answer) {
  const made = answer.probabilities ? classView(model, answer) : numberView(model, answer);
  const behind = answer.probabilities || !model.prediction_histogram ? "" : " Behind it, its predictions for rows that it was tested on.";
  const by = `By ${answer.model.name} version ${answer.model.version}.${behind}`;
  if (answer.unknown) made.push(element("p", { class: "callout" }, `Predicted without ${answer.unknown.join(" and ")}: training did not see this value.`));
  return [...made, element("p", { class: "hint" }, by)];
}

/** From which probability of two labels one is served: not always from a half. */
export const thresholdText = ({ label, value, chosen_for: why }) => `“${label}” is served from a probability of ${chance(value)} (${why})`;

function classView(model, answer) {
  const sorted = Object.entries(answer.probabilities).sort((one, other) => other[1] - one[1]);
  const bars = sorted.slice(0, MOST_LABELS).map(([label, share]) =>
    element(
      "li",
      { class: label === answer.prediction ? "chosen" : null },
      element("span", { class: "name" }, label),
      measured(element("span", { class: "bar", "aria-hidden": "true" }), { share }),
      element("span", { class: "number" }, chance(share)),
    ),
  );
  const rest = sorted.length > MOST_LABELS ? [element("p", { class: "hint" }, `and ${sorted.length - MOST_LABELS} less likely`)] : [];
  const served = model.threshold ? [element("p", { class: "hint" }, `${thresholdText(model.threshold)}.`)] : [];
  return [headline(model.target, answer.prediction), element("ul", { class: "shares", "aria-label": "Probabilities" }, ...bars), ...rest, ...served];
}

function numberView(model, answer) {
  const written = targetFormat(model);
  const made = [headline(model.target, written(answer.prediction))];
  const { interval } = answer;
  if (interval) {
    const text = `between ${written(interval.low)} and ${written(interval.high)} in ${percent(interval.coverage)} of cases`;
    made.push(element("p", { class: "interval" }, text));
  }
  if (interval || model.prediction_histogram) made.push(scale(model, answer, written));
  return made;
}

const headline = (target, text) =>
  element("p", { class: "headline" }, element("span", { class: "target" }, target), " ", element("strong", {}, text));

/** The prediction and its interval on a line, over the spread of the model's predictions for rows it was not fitted on. */
function scale(model, answer, written) {
  const { edges, counts } = model.prediction_histogram ?? { edges: [], counts: [] };
  const { low, high } = answer.interval ?? { low: answer.prediction, high: answer.prediction };
  const from = Math.min(low, ...edges.slice(0, 1));
  const to = Math.max(high, ...edges.slice(-1));
  const place = (value) => (to > from ? (value - from) / (to - from) : 0.5);
  const line = element("div", { class: "scale", "aria-hidden": "true" });
  // edges lie at quantiles: what is drawn is the density, so that wide bins do not look full
  const densities = counts.map((count, bin) => count / (edges[bin + 1] - edges[bin] || Infinity));
  const most = Math.max(...densities);
  densities.forEach((density, bin) => {
    const where = { at: place(edges[bin]), span: place(edges[bin + 1]) - place(edges[bin]), share: density / most };
    line.append(measured(element("span", { class: "bin" }), where));
  });
  line.append(element("span", { class: "axis" }));
  if (answer.interval) line.append(measured(element("span", { class: "band" }), { at: place(low), span: place(high) - place(low) }));
  line.append(measured(element("span", { class: "tick" }), { at: place(answer.prediction) }));
  const ends = element("p", { class: "ends" }, element("span", {}, written(from)), element("span", {}, written(to)));
  return element("div", {}, line, ends);
}
