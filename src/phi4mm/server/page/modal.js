// A dialog that is made when it is needed. The browser keeps the focus inside and gives it back.

import { element, iconButton } from "./element.js";

/** Open a dialog with a title and contents; gives it back. It leaves the page when it is closed. */
export function modal(title, ...contents) {
  const heading = element("h2", { id: "dialog-title", text: title });
  const dialog = element("dialog", { class: "modal", aria: { labelledby: "dialog-title" } });
  const close = iconButton("close", "Close", () => dialog.close());
  dialog.append(element("header", {}, heading, close), element("div", { class: "modal-body" }, ...contents));
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close(); // the backdrop
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  dialog.querySelector("input, select, textarea")?.focus(); // the browser would take the sign that closes it
  return dialog;
}
