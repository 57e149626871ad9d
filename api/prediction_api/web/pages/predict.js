// The page's life: which model is served, the form for it, the answer; and again when the model changes.

import { answerView } from "./answer.js";
import { startBatch } from "./batch.js";
import { byId, element, pageLink, problemNote } from "./dom.js";
import { explanationView } from "./explanation.js";
import { feedbackForm } from "./feedback.js";
import { buildForm, fillForm, markErrors, readRow } from "./form.js";
import { askForKey, startKey } from "./key.js";
import { historyProblem, historyView, modelView, troubleView } from "./model.js";
import { moment } from "./numbers.js";
import { getJson, getModels, postJson, useModel } from "./service.js";

const LOOK_EVERY_MS = 3000;
const HISTORY_EVERY_LOOKS = 10; // a refusal changes the history and not the model
const HINT = "A row that the model has not learned from is filled in. Change what you like, then press Predict.";
let model = null;
let rowShown = 0;
let asking = 0; // counts what was asked and what was changed: an answer to an earlier row is not shown
let away = false;
let trouble = "";
let history = "";
let looks = 0;

/** Shows one of the three states: "key", "no-model", "with-model". */
function showState(state) {
  for (const id of ["key", "no-model", "with-model"]) byId(id).hidden = id !== state;
  byId("synthetic").hidden = state !== "with-model" || !model.data?.synthetic;
}

/** Asks which model is served and follows it. A service that is away for a moment changes nothing but the notice. */
async function look() {
  try {
    if (looks++ % HISTORY_EVERY_LOOKS === 0) await listModels();
    const state = await getJson("readyz");
    const news = JSON.stringify([state.registry.reachable, state.refused]);
    if (news !== trouble) byId("trouble").replaceChildren(...troubleView(state));
    trouble = news; // what has not changed stays untouched: somebody may be on its link
    if (state.model.loaded_at !== model?.loaded_at || byId("with-model").hidden) follow(await getJson("model"));
    else {
      if (away) say("");
      if (looks % HISTORY_EVERY_LOOKS === 0) showHistory();
    }
    away = false;
  } catch (problem) {
    if (problem.status === 401) showKey();
    else if (problem.status === 503) showNoModel(problem);
    else say(`${problem.message} ${problem.hint}`);
    away = !problem.status;
  }
}

/** Offers every model that is served, if there are several; the choice stays while the model does. */
async function listModels() {
  const { default: first, models } = await getModels();
  const names = models.filter(({ ready }) => ready).map(({ name }) => name);
  byId("models-label").hidden = names.length < 2;
  const offered = [...byId("models").options].map((option) => option.value);
  if (JSON.stringify(names) === JSON.stringify(offered)) return;
  const wanted = byId("models").value || new URLSearchParams(location.search).get("model");
  const chosen = names.includes(wanted) ? wanted : first;
  byId("models").replaceChildren(...names.map((name) => element("option", { value: name, selected: name === chosen }, name)));
  useModel(chosen === first ? "" : chosen);
}

function follow(served) {
  const before = model;
  model = served;
  document.title = `Predict ${model.target}`;
  byId("title").textContent = `Predict ${model.target}`;
  byId("subtitle").textContent = summary(model);
  buildForm(model.features, model.rows[rowShown % model.rows.length]);
  byId("model").replaceChildren(...modelView(model));
  showState("with-model");
  showHistory();
  const changed = before && before.name === model.name && before.sha256 !== model.sha256;
  say(changed ? `The model changed: version ${model.version} is served now, and the form follows it.` : "");
}

/** An answer belongs to the row that was asked about: it goes when the row changes. */
function clearAnswer() {
  asking += 1;
  byId("answer-body").replaceChildren(element("p", { class: "hint" }, HINT));
  for (const id of ["explanation", "feedback"]) byId(id).replaceChildren();
}

function say(text) {
  byId("notice").textContent = text;
}

/** What has not changed stays untouched: somebody may have opened the reasons. */
async function showHistory() {
  const [news, made] = await getJson("history").then(
    (past) => [JSON.stringify([past.entries, past.away && past.as_of]), historyView(past)],
    (problem) => [problem.message, historyProblem(problem)],
  );
  if (news !== history) byId("history").replaceChildren(...made);
  history = news;
}

function summary({ name, version, trained_at: trained, data }) {
  const since = trained ? `, trained ${moment(trained)}` : "";
  return `${name} version ${version}${since}${data ? ` on ${data.rows.toLocaleString("en")} rows of ${data.source}` : ""}`;
}

function showNoModel(problem) {
  byId("title").textContent = "Prediction service";
  byId("subtitle").textContent = "It runs, and waits for its first model.";
  byId("no-model-detail").textContent = problem.detail;
  showState("no-model");
}

function showKey() {
  say("");
  showState("key");
  askForKey(byId("subtitle"));
}

async function predict() {
  const asked = model;
  const row = readRow(asked.features);
  const mine = ++asking;
  say("");
  byId("predict").disabled = true;
  try {
    const answer = await postJson("predict", row);
    if (mine !== asking) return;
    markErrors(asked.features, []);
    byId("answer-body").replaceChildren(...answerView(asked, answer));
    byId("answer").scrollIntoView({ block: "nearest" });
    if (answer.model.version !== asked.version) await look();
    byId("feedback").replaceChildren(feedbackForm(asked, answer.id));
    const explanation = await explain(asked, row);
    if (mine === asking) byId("explanation").replaceChildren(...explanation);
  } catch (problem) {
    if (mine !== asking) return;
    byId("answer-body").replaceChildren(problemNote(problem));
    for (const id of ["explanation", "feedback"]) byId(id).replaceChildren();
    markErrors(asked.features, problem.errors ?? []);
    if ([401, 503].includes(problem.status)) await look();
  } finally {
    byId("predict").disabled = false;
  }
}

/** What moved the prediction, or why that cannot be said now: the answer stays in either case. */
function explain(asked, row) {
  return postJson("explain", row).then((made) => explanationView(asked, made), (problem) => [problemNote(problem)]);
}

/** Looks again and again, but not while nobody is there, nor with a key that was refused. */
async function lookForEver() {
  if (!document.hidden && byId("key").hidden) await look();
  setTimeout(lookForEver, LOOK_EVERY_MS);
}

byId("form").addEventListener("submit", (event) => {
  event.preventDefault();
  predict();
});
byId("models").addEventListener("change", async () => {
  useModel(byId("models").value);
  model = null;
  clearAnswer();
  await look();
});
byId("form").addEventListener("input", clearAnswer);
byId("another").addEventListener("click", () => {
  rowShown += 1;
  fillForm(model.features, model.rows[rowShown % model.rows.length]);
  clearAnswer();
});
startKey(look);
startBatch(() => model.features);
clearAnswer();
byId("airflow").replaceChildren(pageLink("Airflow", "dags/train_model", "Airflow's page"));
lookForEver();
