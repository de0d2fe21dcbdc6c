// The page: makes its parts and lets them know each other.

import { Chat } from "./chat.js";
import { codeDialog } from "./code_dialog.js";
import { Composer } from "./composer.js";
import { newConversation } from "./conversation.js";
import { byId } from "./element.js";
import { Library } from "./library.js";
import { ServerState } from "./server_state.js";
import { keepSettings, lastSettings } from "./settings.js";
import { keyDialog, settingsDialog, toolsDialog } from "./settings_dialog.js";
import { Sidebar } from "./sidebar.js";
import { Tabs } from "./tabs.js";
import { Thread } from "./thread.js";
import { transcription } from "./transcription.js";

const tabs = new Tabs();
const server = new ServerState({ askKey, offer: (routes) => tabs.offer(routes) });
const library = new Library(() => sidebar.show(library.conversations, chat.conversation.id));
const chat = new Chat({
  model: () => server.model,
  keep: (conversation) => library.keep(conversation),
  lost: () => server.look(),
});
const sidebar = new Sidebar({
  open,
  rename: (conversation, title) => {
    conversation.title = title;
    library.keep(conversation);
  },
  remove: (conversation) => {
    if (chat.answer?.conversation === conversation) chat.stop();
    if (chat.conversation === conversation) open(newConversation(lastSettings()));
    library.remove(conversation);
  },
  exportOne: (conversation) => library.save([conversation], "conversation"),
});
chat.thread = new Thread({
  edit: (message, text) => chat.edit(message, text),
  regenerate: (message) => chat.regenerate(message),
  retry: (message) => chat.retry(message),
  choose: (message) => chat.choose(message),
  sendResults: (results) => chat.sendResults(results),
  failureOf: (message) => chat.failures.get(message),
  askKey,
  suggest: (name, text) => {
    chat.composer.fill(text);
    if (name === "image" || name === "sound") byId("files").click();
  },
});
chat.composer = new Composer({
  send: (message) => chat.send(message),
  stop: () => chat.stop(),
  tools: () =>
    toolsDialog(chat.conversation.settings.tools, (tools) => change({ ...chat.conversation.settings, tools })),
});

function open(conversation) {
  tabs.select("chat");
  if (conversation.model) server.choose(conversation.model);
  chat.open(conversation);
  sidebar.show(library.conversations, conversation.id);
  showTools();
  if (!matchMedia("(pointer: coarse)").matches) byId("message").focus();
}

function change(settings) {
  chat.conversation.settings = settings;
  keepSettings(settings);
  library.keep(chat.conversation);
  showTools();
}

function showTools() {
  byId("tools-button").classList.toggle("on", chat.conversation.settings.tools !== "");
}

function askKey() {
  if (!document.querySelector("dialog[open]")) keyDialog(() => server.look());
}

byId("new").addEventListener("click", () => {
  open(newConversation(lastSettings()));
  if (byId("main").inert) sidebar.setOpen(false);
});
byId("settings").addEventListener("click", () => settingsDialog(chat.conversation.settings, change));
byId("code").addEventListener("click", () =>
  codeDialog(chat.conversation, server.model || chat.conversation.model || "model"),
);
byId("key").addEventListener("click", askKey);
byId("export").addEventListener("click", () => library.save(library.conversations, "conversations"));
byId("import").addEventListener("click", () => byId("archive").click());
byId("archive").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  if (file) await library.read(file);
  event.target.value = "";
});
transcription(() => server.model);

chat.draw();
showTools();
await Promise.all([library.load(), server.look()]);
document.body.dataset.ready = "true";

// Trusted types allow scripts by this one address alone.
if (navigator.serviceWorker) {
  const address = "service_worker.js";
  const policy = window.trustedTypes?.createPolicy("service-worker", { createScriptURL: () => address });
  navigator.serviceWorker.register(policy ? policy.createScriptURL(address) : address);
}
