// What can be tried out in a search. The defaults are the service's own, as its OpenAPI schema tells them.

import { byId } from "./dom.js";
import { named } from "./fields.js";
import { getJson } from "./service.js";

const WEIGHTS = ["late", "dense", "lexical"];

/** Fills the fields with the defaults, and shows them. A service that takes no such settings leaves them hidden. */
export async function startSettings() {
  const { schemas } = (await getJson("openapi.json")).components;
  if (!schemas.Shares) return;
  for (const name of WEIGHTS) byId(`weight-${name}`).defaultValue = schemas.Shares.properties[name].default;
  byId("depth").defaultValue = schemas.Search.properties.depth.default;
  byId("settings").hidden = byId("settings-fields").disabled = false;
  byId("settings").addEventListener("invalid", () => (byId("settings").open = true), true); // where it can be seen
  byId("settings-reset").addEventListener("click", () => {
    for (const field of byId("settings").querySelectorAll("input")) field.value = field.defaultValue;
  });
}

/** The settings as /search takes them. */
export function settings() {
  if (byId("settings").hidden) return {};
  return {
    weights: Object.fromEntries(WEIGHTS.map((name) => [name, Number(byId(`weight-${name}`).value)])),
    depth: Number(byId("depth").value),
    documents: named("only"),
  };
}
