// The last request of a conversation as code to copy.

import { key } from "./client.js";
import { codeBlock } from "./code_block.js";
import { path } from "./conversation.js";
import { element } from "./element.js";
import { modal } from "./modal.js";
import { curl, python } from "./snippet.js";

/** Show the request that gave the last answer, as curl and as Python. */
export function codeDialog(conversation, model) {
  const last = path(conversation).findLast((message) => message.role === "user" || message.role === "tool");
  if (!last) {
    modal(
      "Use this from code",
      element("p", {
        text: "Write a message first: its request is then shown here as a curl command and as a Python program.",
      }),
    );
    return;
  }
  const where = { origin: new URL(".", location.href).href.replace(/\/$/, ""), withKey: key.get() !== "" };
  const files = path(conversation).some((message) => message.attachments.length);
  modal(
    "Use this from code",
    files
      ? element("p", {
          class: "muted",
          text: "Images and audio clips are read from files of their names in the current folder.",
        })
      : null,
    element("h3", { text: "curl" }),
    codeBlock(curl(conversation, last.id, model, where), "shell"),
    element("h3", { text: "Python" }),
    codeBlock(python(conversation, last.id, model, where), "python"),
  );
}
