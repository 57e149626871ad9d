// The later truth about a prediction, told back to the service, which keeps it beside the prediction.

import { element } from "./dom.js";
import { postJson } from "./service.js";

/** A small form that sends what the truth was for the answer with this id. */
export function feedbackForm(model, id) {
  const shared = { id: "truth", autocomplete: "off", "aria-describedby": "truth-answer" };
  const options = ["", ...model.labels].map((label) => element("option", { value: label }, label || "choose"));
  const field = model.labels.length
    ? element("select", shared, ...options)
    : element("input", { ...shared, type: "text", inputmode: "decimal" });
  const told = element("p", { id: "truth-answer", class: "hint", role: "status" }, "It is kept with the prediction, for the monitoring.");
  const send = element("button", { type: "submit", class: "second" }, "Tell");
  const label = element("label", { for: "truth" }, `Know the true ${model.target}?`);
  const form = element("form", { class: "truth" }, label, element("div", { class: "together" }, field, send), told);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const number = model.labels.length || field.value.trim() === "" ? NaN : Number(field.value);
    try {
      await postJson("feedback", { id, actual: Number.isFinite(number) ? number : field.value });
      told.textContent = "Noted, thank you.";
      field.removeAttribute("aria-invalid");
      send.disabled = true;
    } catch (problem) {
      told.textContent = problem.errors[0]?.msg ?? problem.message;
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
  });
  return form;
}
