// Snapshots: all collections kept under a name, and put back in one step.

import { onCollection, showCollections } from "./collections.js";
import { confirmed } from "./confirm.js";
import { button, byId, element, problemNote } from "./dom.js";
import { getJson, postJson, remove } from "./service.js";
import { count, moment, size } from "./words.js";

/** Lets snapshots be taken, restored and deleted. */
export function startSnapshots() {
  onCollection(() => doing("", showSnapshots));
  byId("snapshot-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("snapshot-name").value.trim();
    doing(`Kept as ${name}.`, async () => {
      await postJson("snapshots", { name });
      byId("snapshot-form").reset();
      await showSnapshots();
    });
  });
}

/** Does it and says so, or says what is wrong. */
async function doing(said, action) {
  byId("snapshot-problem").replaceChildren();
  try {
    await action();
    if (said) byId("snapshot-state").textContent = said;
  } catch (problem) {
    byId("snapshot-state").textContent = "";
    byId("snapshot-problem").replaceChildren(problemNote(problem));
  }
}

async function showSnapshots() {
  const { snapshots } = await getJson("snapshots");
  byId("snapshots").replaceChildren(...snapshots.map(snapshotView));
}

function snapshotView({ name, created_at: at, documents, bytes }) {
  const path = `snapshots/${encodeURIComponent(name)}`;
  const restore = async () => {
    if (!(await confirmed(`Restore ${name}? All collections become what they were on ${moment(at)}.`, "Restore"))) return;
    await doing(`The documents are again what they were on ${moment(at)}.`, async () => {
      await postJson(`${path}/restore`, {});
      await showCollections();
    });
  };
  const forget = async () => {
    if (!(await confirmed(`Delete the snapshot ${name}?`, "Delete"))) return;
    await doing(`${name} is deleted.`, async () => {
      await remove(path);
      await showSnapshots();
      byId("snapshot-name").focus(); // the button that had the focus is gone
    });
  };
  return element(
    "li",
    {},
    element("span", {}, element("strong", {}, name), " ", element("span", { class: "hint" }, `${moment(at)}, ${count(documents, "document")}, ${size(bytes)}`)),
    element(
      "span",
      { class: "choices" },
      button("Restore", restore, { class: "quiet small", "aria-label": `Restore ${name}` }),
      button("Delete", forget, { class: "quiet small", "aria-label": `Delete ${name}` }),
    ),
  );
}
