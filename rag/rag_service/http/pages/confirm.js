// One question before what cannot be taken back.

import { byId } from "./dom.js";

let answer = () => {};

/** Whether the person says yes to `question`; `yes` is what its button says. Escape and Cancel mean no. */
export function confirmed(question, yes) {
  const dialog = byId("confirm");
  answer(false); // to an earlier question: its "close" event may come only when this one is open
  byId("confirm-question").textContent = question;
  byId("confirm-yes").textContent = yes;
  dialog.showModal();
  return new Promise((resolve) => {
    answer = resolve;
  });
}

/** Lets the dialog's two buttons close it. */
export function startConfirming() {
  const dialog = byId("confirm");
  const end = (yes) => {
    answer(yes);
    dialog.close();
  };
  byId("confirm-yes").addEventListener("click", () => end(true));
  byId("confirm-no").addEventListener("click", () => end(false));
  dialog.addEventListener("close", () => dialog.open || answer(false)); // Escape
}
