// The model in production: what it is, what it was trained on, how well it did, and what was decided before.

import { thresholdText } from "./answer.js";
import { element, problemNote } from "./dom.js";
import { figure, metricName, moment } from "./numbers.js";

// what became of a version, and of the one before it
const ACTIONS = {
  promoted: ["was promoted", "in place of version"],
  refused: ["was refused", "in favour of version"],
  rolled_back: ["was taken back into production", "in place of version"],
  would_promote: ["would have been promoted", "in place of version"],
  would_refuse: ["would have been refused", "in favour of version"],
};

/** The facts of GET /model, as a list of terms and descriptions. */
export function modelView(model) {
  const { data } = model;
  const facts = [
    ["Model", `${model.name}, version ${model.version} (${model.alias})`],
    ["Predicts", `${model.target}, by ${model.task}`],
    ["Threshold", model.threshold && thresholdText(model.threshold)],
    ["Trained", model.trained_at && moment(model.trained_at)],
    ["Data", data && `${data.rows.toLocaleString("en")} rows of ${data.source}${data.synthetic ? ", synthetic" : ""}`],
    ["Live here since", moment(model.loaded_at)],
  ].filter(([, text]) => text);
  const identifiers = [
    ["Data digest", data?.digest],
    ["Code", model.code_version],
    ["Run", model.run_id],
    ["SHA-256", model.sha256],
  ].filter(([, text]) => text);
  const metrics = Object.entries(model.metrics).map(([name, value]) => [metricName(name), figure(value)]);
  const fold = element("details", {}, element("summary", {}, "Identifiers"), terms("facts", identifiers));
  const made = [terms("facts", facts), fold];
  if (metrics.length) made.push(element("h3", {}, "Measured on rows that it was not trained on"), terms("metrics", metrics));
  return made;
}

/** The decisions of GET /history, newest first, each with its reasons. */
export function historyView({ entries, as_of: asOf, away }) {
  const made = [];
  if (away) made.push(element("p", { class: "callout" }, `The registry does not answer now; this is from ${moment(asOf)}.`));
  if (!entries.length) made.push(element("p", { class: "hint" }, "Nothing was decided about this model yet."));
  else made.push(element("ol", { class: "history" }, ...entries.map(decision)));
  return made;
}

/** What GET /readyz says is not as it should be: a version that is not served, a registry that is away. */
export function troubleView({ registry, refused }) {
  const made = [];
  if (refused) {
    const why = element("a", { href: `docs#refused-${refused.reason}` }, "What this means");
    made.push(element("p", { class: "callout" }, `Version ${refused.version} is not served: ${refused.detail}. `, why));
  }
  if (registry.reachable === false) {
    made.push(element("p", { class: "callout" }, `The registry is away (${registry.detail}). The model goes on serving from its copy.`));
  }
  return made;
}

/** In place of the history, why there is none. */
export const historyProblem = (problem) => [problemNote(problem)];

function terms(kind, pairs) {
  const described = (text) => element("dd", { class: /^\S{32,}$/.test(text) ? "digest" : null }, text);
  return element("dl", { class: kind }, ...pairs.map(([name, text]) => element("div", {}, element("dt", {}, name), described(text))));
}

function decision({ action, version, previous, reasons, by, at }) {
  const [what, before] = ACTIONS[action] ?? [action.replaceAll("_", " "), "before it version"];
  const instead = previous && previous !== version ? `, ${before} ${previous}` : "";
  const made = element("li", { class: action }, element("p", {}, element("strong", {}, `Version ${version} ${what}`), instead));
  made.append(element("p", { class: "hint" }, [at && moment(at), by && `by ${by}`].filter(Boolean).join(", ")));
  if (!reasons.length) return made;
  const list = reasons.map(({ text, passed }) => {
    const mark = passed === null ? "" : passed ? "passed: " : "failed: ";
    return element("li", { class: passed === false ? "failed" : null }, mark, text);
  });
  const summary = element("summary", {}, reasons.length === 1 ? "1 reason" : `${reasons.length} reasons`);
  made.append(element("details", {}, summary, element("ul", {}, ...list)));
  return made;
}
