// The chat: the open conversation, its answers, and what the reader does with them.

import { announce, notify } from "./announcement.js";
import { ServerError } from "./client.js";
import { append, choose, newConversation, newMessage, openCalls, remove } from "./conversation.js";
import { generate } from "./generation.js";
import { readObject, readTools } from "./request.js";
import { lastSettings } from "./settings.js";

const SAVE_EVERY = 2000; // milliseconds, of a growing answer

export class Chat {
  /** `around`: thread, composer, model() and keep(conversation). The two views are set after they are made. */
  constructor(around) {
    Object.assign(this, around);
    this.failures = new WeakMap();
    this.conversation = newConversation(lastSettings());
    this.answer = null; // {message, controller, conversation} while one comes
  }

  /** Show a conversation; an answer that is coming into another one goes on. */
  open(conversation) {
    this.conversation = conversation;
    this.draw();
    this.thread.follow();
  }

  /** The message that grows in the shown conversation, or null. */
  get streaming() {
    return this.answer?.conversation === this.conversation ? this.answer.message : null;
  }

  draw() {
    this.thread.draw(this.conversation, this.streaming);
    this.composer.setAnswering(this.answer !== null);
  }

  /** Send a message; false where it cannot be sent, so that what was written stays. */
  send({ text, attachments }) {
    if (!this.ready()) return false;
    append(this.conversation, newMessage("user", { text, attachments }));
    this.run();
    return true;
  }

  ready() {
    if (this.answer) {
      notify("An answer is coming: wait for it, or stop it.");
      return false;
    }
    if (!this.model()) {
      notify("The server cannot be reached, so nothing was sent.");
      return false;
    }
    try {
      const { settings } = this.conversation;
      if (settings.tools.trim()) readTools(settings.tools);
      if (settings.format === "json_schema") readObject(settings.schema, "The JSON schema");
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      notify(error.message);
      return false;
    }
    return true;
  }

  /** Put an edited message beside the old one, and answer it; false where it cannot be sent. */
  edit(message, text) {
    if (!this.ready()) return false;
    append(this.conversation, newMessage("user", { text, attachments: message.attachments }), message.parent);
    this.run();
    return true;
  }

  /** Another answer beside this one. */
  regenerate(message) {
    if (!this.ready()) return;
    this.conversation.leaf = message.parent;
    this.run();
  }

  /** Another try after an error; an answer of which nothing came is dropped. */
  retry(message) {
    if (!this.ready()) return;
    if (message.text || message.calls.length) this.conversation.leaf = message.parent;
    else remove(this.conversation, message);
    this.run();
  }

  /** The results of the model's calls, and its next answer. */
  sendResults(results) {
    if (!this.ready()) return;
    for (const { id, text } of results) append(this.conversation, newMessage("tool", { call: id, text }));
    this.run();
  }

  /** Show another version of a message. */
  choose(message) {
    choose(this.conversation, message);
    this.keep(this.conversation);
    this.draw();
  }

  /** End the answer that is coming; what has come stays. */
  stop() {
    this.answer?.controller.abort();
  }

  async run() {
    const { conversation } = this;
    const message = append(conversation, newMessage("assistant"));
    const controller = new AbortController();
    this.answer = { message, controller, conversation };
    conversation.model = this.model();
    this.draw();
    this.thread.follow();
    announce("Answering");
    await this.keep(conversation);
    let saved = performance.now();
    try {
      await generate(conversation, message, conversation.model, controller.signal, () => {
        if (this.conversation === conversation) this.thread.grow();
        if (performance.now() - saved > SAVE_EVERY) {
          saved = performance.now();
          this.keep(conversation);
        }
      });
    } catch (error) {
      if (error.name === "AbortError") message.finish = "stopped";
      else if (error instanceof ServerError || error.name === "NotReadableError") this.fail(message, error);
      else throw error;
    } finally {
      this.finish(message, conversation);
    }
  }

  fail(message, error) {
    message.error = error.message || "The request failed.";
    this.failures.set(message, error);
    if (error.status === 0) this.lost();
  }

  finish(message, conversation) {
    this.answer = null;
    conversation.updated = Date.now();
    this.keep(conversation);
    this.draw();
    const calls = openCalls(conversation).map(({ name }) => `Call of ${name}.`);
    announce([message.text.slice(0, 4000), ...calls, message.error ?? ""].join(" ").trim() || "The answer is empty");
  }
}
