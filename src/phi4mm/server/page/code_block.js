// Code with its language and a copy button.

import { element, icon } from "./element.js";

const SHOWN = 2000; // milliseconds that "Copied" stays

/** A block of code: what an answer shows, and what the page gives to copy. */
export function codeBlock(text, language = "") {
  const code = element("code", { text });
  const label = element("span", { text: language || "code" });
  const head = element(
    "div",
    { class: "code-head" },
    label,
    copyButton(() => text, "Copy code"),
  );
  const scroll = element("pre", { tabIndex: 0, role: "region", aria: { label: `Code, ${language || "plain"}` } }, code);
  return element("div", { class: "code", dir: "ltr" }, head, scroll);
}

/** A button that copies what `text()` gives, and says so for two seconds. */
export function copyButton(text, label) {
  const words = element("span", { class: "unseen", aria: { live: "polite" } });
  const button = element(
    "button",
    { type: "button", class: "button quiet", title: label, aria: { label } },
    icon("copy"),
  );
  button.addEventListener("click", async () => {
    const copied = await copy(text());
    button.firstChild.replaceWith(icon(copied ? "check" : "close"));
    words.textContent = copied ? "Copied" : "The browser refused to copy";
    setTimeout(() => {
      button.firstChild.replaceWith(icon("copy"));
      words.textContent = "";
    }, SHOWN);
  });
  return element("span", { class: "copy" }, button, words);
}

/** Put text on the clipboard; true where it is there. Addresses without TLS have only the old command. */
export async function copy(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch (error) {
      if (error.name !== "NotAllowedError") throw error;
      return false;
    }
  }
  const field = element("textarea", { value: text, class: "unseen", aria: { hidden: "true" } });
  const focused = document.activeElement;
  (document.querySelector("dialog[open]") ?? document.body).append(field);
  field.select();
  const copied = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return copied;
}
