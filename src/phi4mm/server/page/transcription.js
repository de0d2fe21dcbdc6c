// The tab that turns a file of speech into text or subtitles, where the server has the route.

import { announce } from "./announcement.js";
import { attachmentOf } from "./attachment.js";
import { ask, ServerError } from "./client.js";
import { codeBlock } from "./code_block.js";
import { byId, element } from "./element.js";

/** Connect the form of the tab; `model()` gives the chosen model. */
export function transcription(model) {
  const form = byId("transcription");
  const output = byId("transcript");
  let running = null;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    running?.abort();
    running = new AbortController();
    output.replaceChildren(element("p", { class: "muted", text: "Listening…" }));
    try {
      output.replaceChildren(await transcript(new FormData(form), model(), running.signal));
      announce("The transcript is there");
    } catch (error) {
      if (error.name === "AbortError") return;
      if (!(error instanceof ServerError || error instanceof TypeError)) throw error;
      output.replaceChildren(element("p", { class: "problem", role: "alert", text: error.message }));
    }
  });
}

async function transcript(given, model, signal) {
  const { blob, name } = attachmentOf(given.get("file"));
  const format = given.get("format");
  const sent = new FormData();
  sent.append("file", blob, name);
  sent.append("model", model);
  sent.append("response_format", format);
  if (given.get("language")) sent.append("language", given.get("language"));
  const text = await (await ask("v1/audio/transcriptions", { form: sent, signal })).text();
  return codeBlock(text.trim(), format);
}
