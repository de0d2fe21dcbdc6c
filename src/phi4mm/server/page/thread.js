// The messages of the open conversation. Follows a growing answer while the reader is at its end.

import { openCalls, path, siblings } from "./conversation.js";
import { byId, element, icon } from "./element.js";
import { AnswerView, userView } from "./message_view.js";
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
    this.last = null;
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

  /** Draw a conversation; `streaming` is the message that grows, or null. */
  draw(conversation, streaming) {
    const shown = path(conversation);
    const results = new Map(shown.filter((one) => one.role === "tool").map((one) => [one.call, one.text]));
    const around = {
      ...this.actions,
      busy: streaming !== null,
      results,
      siblings: (message) => siblings(conversation, message),
    };
    this.last = null;
    const views = shown
      .filter((one) => one.role !== "tool")
      .map((message) => {
        if (message.role === "user") return userView(message, around);
        const view = new AnswerView(message, { ...around, streaming: message === streaming });
        if (message === streaming) this.last = view;
        return view.node;
      });
    const calls = streaming ? [] : openCalls(conversation);
    if (calls.length && shown.at(-1).role === "assistant") views.push(resultForm(calls, this.actions.sendResults));
    this.list.replaceChildren(...(views.length ? views : [this.welcome()]));
  }

  /** Draw what has come of the growing answer, once a frame. */
  grow() {
    if (this.pending || !this.last) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      this.last?.update(true);
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
