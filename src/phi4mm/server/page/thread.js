// The messages of the open conversation. Follows a growing answer while the reader is at its end.

import { openCalls, path, results, siblings } from "./conversation.js";
import { byId, element, icon } from "./element.js";
import { AnswerView, UserView } from "./message_view.js";
import { resultForm } from "./tool_call.js";

const NEAR = 80; // pixels from the end that count as its end
const SUGGESTIONS = [
  ["image", "Describe an image", "What is shown in this image?"],
  ["sound", "Transcribe a clip", "Transcribe the audio clip into text."],
  ["edit", "Explain something", "Explain in three sentences how "],
];

export class Thread {
  /** `actions`: edit, regenerate, retry, choose, sendResults, suggest, askKey, failureOf. */
  constructor(actions) {
    this.actions = actions;
    this.scroller = byId("thread");
    this.list = byId("messages");
    this.toEnd = byId("to-end");
    this.views = new Map(); // by message
    this.growing = null;
    this.pending = false;
    this.following = true; // until the reader scrolls up
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    this.toEnd.addEventListener("click", () => this.follow());
    new ResizeObserver(() => this.following && this.follow()).observe(this.list);
  }

  scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.following = scrollHeight - scrollTop - clientHeight < NEAR;
    this.toEnd.hidden = this.following;
  }

  /** Draw a conversation; `streaming` is the message that grows, or null. What is unchanged stays as it is. */
  draw(conversation, streaming) {
    const shown = path(conversation);
    const around = {
      ...this.actions,
      results: (message) => results(shown, message),
      siblings: (message) => siblings(conversation, message),
    };
    const kept = this.views;
    this.views = new Map();
    for (const message of shown.filter((one) => one.role !== "tool")) {
      const growing = message === streaming;
      const state = JSON.stringify([
        growing,
        message,
        around.siblings(message).map(({ id }) => id),
        [...around.results(message)],
      ]);
      const entry = kept.get(message) ?? { view: new (message.role === "user" ? UserView : AnswerView)(message) };
      if (entry.state !== state) entry.view.update(around, growing);
      this.views.set(message, { view: entry.view, state });
      if (growing) this.growing = () => entry.view.update(around, true);
    }
    if (!streaming) this.growing = null;
    const nodes = [...this.views.values()].map(({ view }) => view.node);
    const calls = streaming ? [] : openCalls(conversation);
    if (calls.length) nodes.push(resultForm(calls, this.actions.sendResults));
    this.place(nodes.length ? nodes : [this.welcome()]);
  }

  /** Put the nodes into the list; those that stand right are not touched, so they keep focus and go on playing. */
  place(nodes) {
    for (const child of [...this.list.childNodes]) if (!nodes.includes(child)) child.remove();
    nodes.forEach((node, n) => {
      if (this.list.childNodes[n] !== node) this.list.insertBefore(node, this.list.childNodes[n] ?? null);
    });
  }

  /** Draw what has come of the growing answer, once a frame. */
  grow() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.growing?.();
    });
  }

  /** Scroll to the end, and stay there while it grows. */
  follow() {
    this.following = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.toEnd.hidden = true;
  }

  welcome() {
    const buttons = SUGGESTIONS.map(([name, label, text]) => {
      const click = () => this.actions.suggest(name, text);
      return element(
        "button",
        { type: "button", class: "suggestion", on: { click } },
        icon(name),
        element("span", { text: label }),
      );
    });
    return element(
      "div",
      { class: "welcome" },
      element("h2", { text: "Ask in words, images or sound" }),
      element("p", {
        class: "muted",
        text: "Drop or paste files anywhere on this page, or speak. Conversations stay in this browser.",
      }),
      element("div", { class: "suggestions" }, ...buttons),
    );
  }
}
