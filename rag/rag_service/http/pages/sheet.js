// A page of a PDF as it looks, beside the text that was read of it, with the quote marked.

import { byId } from "./dom.js";
import { getImage } from "./service.js";

let shown = null; // the document, whose page, and what is marked

/** Lets the two buttons turn the pages. */
export function startSheet() {
  byId("sheet-before").addEventListener("click", () => turnTo(shown.number - 1));
  byId("sheet-after").addEventListener("click", () => turnTo(shown.number + 1));
}

/** Shows a page of a document whose file is kept; `start` and `end` are the quote's place in the document's text. */
export function showSheet(document, collection, number, { start = 0, end = 0 }) {
  shown = { document, collection, start, end };
  byId("sheet").hidden = false;
  turnTo(number);
}

export function hideSheet() {
  shown = null;
  byId("sheet").hidden = true;
  byId("sheet-image").width = 0;
}

async function turnTo(number) {
  const mine = (shown = { ...shown, number });
  const { document, collection, start, end } = mine;
  byId("sheet-before").disabled = number <= 1;
  byId("sheet-after").disabled = number >= document.pages.length;
  byId("sheet-state").textContent = `Page ${number} of ${document.pages.length} is being drawn…`;
  const path = `documents/${encodeURIComponent(document.id)}/pages/${number}.png?${new URLSearchParams({ collection, start, end })}`;
  try {
    const { image, markedAt } = await getImage(path);
    if (mine === shown) draw(image, markedAt);
  } catch (problem) {
    if (mine === shown) byId("sheet-state").textContent = problem.detail;
  }
}

function draw(image, markedAt) {
  const canvas = byId("sheet-image");
  [canvas.width, canvas.height] = [image.width, image.height];
  canvas.getContext("2d").drawImage(image, 0, 0); // an address of the image's own would need a wider content policy
  const what = `Page ${shown.number} of ${shown.document.pages.length}${markedAt === null ? "" : ", what is cited is marked"}`;
  byId("sheet-state").textContent = what;
  canvas.setAttribute("aria-label", what);
  const view = byId("sheet-view");
  view.scrollTop = (markedAt ?? 0) * canvas.clientHeight - view.clientHeight / 3;
}
