// One message as the reader sees it, with what can be done with it.

import { preview } from "./attachment.js";
import { copyButton } from "./code_block.js";
import { element, icon, iconButton } from "./element.js";
import { render } from "./markdown.js";
import { callView } from "./tool_call.js";

const ENDS = {
  length: "The answer reached its longest length.",
  stopped: "Stopped.",
  content_filter: "The server ended the answer.",
};

/** A user's message: attachments, text as it was typed, edit and copy. */
export class UserView {
  constructor(message) {
    this.message = message;
    this.actions = element("div", { class: "actions" });
    const attachments = message.attachments.map((one) => preview(one));
    this.parts = [
      attachments.length ? element("ul", { class: "attachments", aria: { label: "Attachments" } }, ...attachments) : "",
      message.text ? element("div", { class: "bubble", dir: "auto", text: message.text }) : "",
      this.actions,
    ];
    this.node = element(
      "article",
      { class: "message user", aria: { label: "You" }, data: { id: message.id } },
      ...this.parts,
    );
  }

  update(around) {
    const edit = iconButton("edit", "Edit", () => this.edit(around));
    const copied = copyButton(() => this.message.text, "Copy");
    this.actions.replaceChildren(...versions(this.message, around), copied, edit);
  }

  edit(around) {
    const close = () => {
      this.node.replaceChildren(...this.parts);
      this.actions.querySelector("[aria-label=Edit]").focus();
    };
    const sent = (text) => around.edit(this.message, text) && close();
    this.node.replaceChildren(editor(this.message, sent, close));
    this.node.querySelector("textarea").focus();
  }
}

function editor(message, sent, close) {
  const id = `edit-${message.id}`;
  const field = element("textarea", { id, value: message.text, rows: 4, dir: "auto" });
  const cancel = element("button", { type: "button", class: "button", text: "Cancel", on: { click: close } });
  const form = element(
    "form",
    { class: "editor" },
    element("label", { htmlFor: id, text: "Edit the message" }),
    field,
    element("div", { class: "row end" }, cancel, element("button", { class: "button primary", text: "Send" })),
  );
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim() || message.attachments.length) sent(field.value.trim());
  });
  return form;
}

/** An answer. `update` draws what has come since. */
export class AnswerView {
  constructor(message) {
    this.message = message;
    this.body = element("div", { class: "prose" });
    this.foot = element("div");
    const named = { class: "message answer", aria: { label: "Answer" }, data: { id: message.id } };
    this.node = element("article", named, this.body, this.foot);
  }

  update(around, streaming) {
    const { message } = this;
    render(this.body, message.text);
    this.node.setAttribute("aria-busy", String(streaming));
    this.node.classList.toggle("streaming", streaming);
    const calls = message.calls.map((call) => callView(call, around.results(message).get(call.id) ?? null));
    const label = "Waiting for the answer";
    const waiting = element("span", { class: "waiting", role: "img", aria: { label } });
    const silent = streaming && !message.text && !calls.length;
    this.foot.replaceChildren(...(silent ? [waiting] : []), ...calls, ...(streaming ? [] : this.ending(around)));
  }

  ending(around) {
    const { message } = this;
    const again = iconButton("again", "Answer again", () => around.regenerate(message));
    const copied = message.text ? copyButton(() => message.text, "Copy answer") : "";
    const figures = element("span", { class: "muted figures", text: figuresOf(message) });
    const actions = element("div", { class: "actions" }, ...versions(message, around), copied, again, figures);
    const note = ENDS[message.finish] ? [element("p", { class: "muted", text: ENDS[message.finish] })] : [];
    return [...note, ...(message.error ? [failure(message, around)] : []), actions];
  }
}

function figuresOf({ usage, model }) {
  if (!usage) return model ?? "";
  const perSecond = usage.answer / usage.seconds;
  const rate = usage.seconds > 0 ? `, ${perSecond.toFixed(perSecond < 10 ? 1 : 0)} a second` : "";
  return `${model} · ${usage.prompt} + ${usage.answer} tokens${rate}`;
}

/** Why there is no whole answer, with what helps: the key, or another try when the server's time has passed. */
function failure(message, around) {
  const { status = null, retryAfter = null } = around.failureOf(message) ?? {};
  const retry = element("button", {
    type: "button",
    class: "button",
    text: "Try again",
    on: { click: () => around.retry(message) },
  });
  const buttons = [retry];
  if (status === 401 || status === 403) {
    buttons.unshift(
      element(
        "button",
        { type: "button", class: "button primary", on: { click: around.askKey } },
        icon("key"),
        element("span", { text: "API key" }),
      ),
    );
  }
  if (retryAfter) countDown(retry, retryAfter);
  return element(
    "div",
    { class: "failure", role: "alert" },
    element("p", { text: message.error, dir: "auto" }),
    element("div", { class: "row" }, ...buttons),
  );
}

function countDown(button, seconds) {
  const end = performance.now() + seconds * 1000;
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((end - performance.now()) / 1000);
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    button.disabled = left > 0;
    if (left > 0) setTimeout(tick, 250);
  };
  tick();
}

/** Which version of the message this is, where there are several. */
function versions(message, around) {
  const all = around.siblings(message);
  if (all.length < 2) return [];
  const at = all.indexOf(message);
  const step = (name, label, to) => iconButton(name, label, () => around.choose(all[to]), { disabled: !(to in all) });
  const count = element("span", { class: "muted", text: `${at + 1} / ${all.length}` });
  return [
    element(
      "span",
      { class: "versions", role: "group", aria: { label: "Versions" } },
      step("left", "Version before", at - 1),
      count,
      step("right", "Next version", at + 1),
    ),
  ];
}
