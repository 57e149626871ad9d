// The overview: a tile for each part of the stack, from GET /overview, and again every half minute.

import { byId, element, measured, pageLink } from "./dom.js";
import { askForKey, startKey } from "./key.js";
import { figure, moment } from "./numbers.js";
import { getJson } from "./service.js";

const LOOK_EVERY_MS = 30_000;
let shown = "";

async function look() {
  try {
    const { at, attention, tiles } = await getJson("overview");
    byId("key").hidden = true;
    const needs = attention.length ? `Needs attention: ${attention.join(", ")}.` : "Nothing needs attention.";
    say(`${needs} As of ${moment(at)}.`);
    byId("summary").className = attention.length ? "callout" : "subtitle";
    const news = JSON.stringify(tiles);
    if (news !== shown) byId("tiles").replaceChildren(...tiles.map(tileView));
    shown = news; // what has not changed stays untouched: somebody may be on its link
  } catch (problem) {
    if (problem.status === 401) askForKey(byId("summary"));
    else say(`${problem.message} ${problem.hint ?? ""}`);
  }
}

function say(text) {
  byId("summary").textContent = text;
}

function tileView({ title, facts, trends, links, away }, place) {
  const id = `tile-${place}`;
  const made = element("section", { class: "card", "aria-labelledby": id }, element("h2", { id }, title));
  if (away) made.append(element("p", { class: "notice" }, away));
  const rows = facts.map(({ name, text, bad }) =>
    element("div", { class: bad ? "bad" : null }, element("dt", {}, name), element("dd", {}, text)),
  );
  if (rows.length) made.append(element("dl", { class: "facts" }, ...rows));
  made.append(...trends.map(trendView));
  const open = links.map(({ text, page, path }) => pageLink(page, path, text)).filter((link) => typeof link !== "string");
  if (open.length) made.append(element("p", { class: "links" }, ...open));
  return made;
}

/** A bar for each window, beside the limit; the same as a table for those who want the numbers. */
function trendView({ name, limit, points }) {
  const most = Math.max(limit, ...points.map(({ value }) => value)) * 1.1 || 1;
  const bars = points.map(({ value, bad }) => measured(element("span", { class: bad ? "bar over" : "bar" }), { height: value / most }));
  const line = measured(element("span", { class: "limit" }), { height: limit / most });
  const over = points.filter(({ bad }) => bad).length;
  const told = `${name}: last ${figure(points.at(-1).value)}, limit ${figure(limit)}; ${over} of ${points.length} windows alarming`;
  const chart = element("div", { class: "trend", role: "img", "aria-label": told }, line, ...bars);
  const caption = element("figcaption", {}, `${name} `, element("span", { class: "hint" }, `last ${figure(points.at(-1).value)}, limit ${figure(limit)}`));
  const rows = points.map(({ at, value, bad }) =>
    element("tr", {}, ...[moment(at), figure(value), bad ? "alarming" : "quiet"].map((text) => element("td", {}, text))),
  );
  const heads = ["Window's end", "Value", "Verdict"].map((text) => element("th", { scope: "col" }, text));
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads)), element("tbody", {}, ...rows));
  const windows = points.length === 1 ? "1 window" : `${points.length} windows`;
  const details = element("details", {}, element("summary", {}, `${windows}, since ${moment(points[0].at)}`), table);
  return element("figure", {}, caption, chart, details);
}

/** Looks again and again, but not while nobody is there, nor with a key that was refused. */
async function lookForEver() {
  if (!document.hidden && byId("key").hidden) await look();
  setTimeout(lookForEver, LOOK_EVERY_MS);
}

startKey(look);
lookForEver();
