// The form for the service's API key, on each page whose calls ask for one.

import { byId, element } from "./dom.js";
import { hasKey, keepKey } from "./service.js";

/** Fills the page's form; `look()` asks the service again, now with the key. */
export function startKey(look) {
  const field = element("input", { id: "key-field", type: "password", autocomplete: "off", required: true, "aria-describedby": "key-hint" });
  byId("key").append(
    element("h2", {}, "This service asks for a key"),
    element("label", { for: "key-field" }, "API key"),
    field,
    element("p", { id: "key-hint", class: "hint" }, "It is kept in this tab until you close it."),
    element("p", { id: "key-refused", class: "error", role: "alert" }),
    element("button", { type: "submit" }, "Use this key"),
  );
  byId("key").addEventListener("submit", (event) => {
    event.preventDefault();
    keepKey(field.value.trim());
    byId("key-refused").textContent = "";
    look();
  });
}

/** Shows the form after a call that was refused, and says in the page's subtitle, if it has one, why the rest is not there. */
export function askForKey(subtitle) {
  if (subtitle) subtitle.textContent = "This page is open to those who have the key.";
  byId("key").hidden = false;
  byId("key-refused").textContent = hasKey() ? "The service did not take this key." : "";
  byId("key-field").focus();
}
