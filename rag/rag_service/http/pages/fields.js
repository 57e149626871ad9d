// What fields say, as the calls take it.

import { byId } from "./dom.js";

/** The documents that the field `id` names, as /ask and /search take them: that one, or none, which means all. */
export function named(id) {
  const name = byId(id).value.trim();
  return name ? [name] : [];
}

/** The metadata in the field `id`: "year=2024; author=Ada" -> {year: "2024", author: "Ada"}. Its pattern holds the form. */
export function pairsIn(id) {
  const parts = byId(id).value.split(";").filter((part) => part.trim());
  return Object.fromEntries(parts.map((part) => [part.split("=")[0].trim(), part.split("=").slice(1).join("=").trim()]));
}
