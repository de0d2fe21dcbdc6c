// One message as the reader sees it, with what can be done with it.

import { preview } from "./attachment.js";
import { copyButton } from "./code_block.js";
import { element, icon, iconButton } from "./element.js";
import { render } from "./markdown.js";
import { callView } from "./tool_call.js";

/** A user's message: attachments, text as it was typed, edit and copy. */
export function userView(message, around) {
  const view = element("article", { class: "message user", aria: { label: "You" }, data: { id: message.id } });
  if (message.attachments.length) {
    view.append(
      element(
        "ul",
        { class: "attachments", aria: { label: "Attachments" } },
        ...message.attachments.map((one) => preview(one)),
      ),
    );
  }
  if (message.text) view.append(element("div", { class: "bubble", dir: "auto", text: message.text }));
  const edit = iconButton("edit", "Edit", () => view.replaceWith(editor(message, view, around.edit)), {
    disabled: around.busy,
  });
  view.append(
    element(
      "div",
      { class: "actions" },
      ...versions(message, around),
      copyButton(() => message.text, "Copy"),
      edit,
    ),
  );
  return view;
}

function editor(message, view, edited) {
  const id = `edit-${message.id}`;
  const field = element("textarea", { id, value: message.text, rows: 4, dir: "auto" });
  const form = element(
    "form",
    { class: "message editor" },
    element("label", { htmlFor: id, text: "Edit the message" }),
    field,
    element(
      "div",
      { class: "row end" },
      element("button", { type: "button", class: "button", text: "Cancel", on: { click: cancel } }),
      element("button", { class: "button primary", text: "Send" }),
    ),
  );
  function cancel() {
    form.replaceWith(view);
    view.querySelector("button").focus();
  }
  form.addEventListener("keydown", (event) => {
    if (event.key === "Escape") cancel();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (field.value.trim() || message.attachments.length) edited(message, field.value.trim());
  });
  requestAnimationFrame(() => field.focus());
  return form;
}

/** An answer. `update` draws what has come since; `results` maps a call's id to its result. */
export class AnswerView {
  constructor(message, around) {
    Object.assign(this, { message, around });
    this.body = element("div", { class: "prose" });
    this.foot = element("div", {});
    this.node = element(
      "article",
      { class: "message answer", aria: { label: "Answer" }, data: { id: message.id } },
      this.body,
      this.foot,
    );
    this.update(around.streaming);
  }

  update(streaming) {
    const { message, around } = this;
    render(this.body, message.text);
    this.node.setAttribute("aria-busy", String(streaming));
    this.node.classList.toggle("streaming", streaming);
    const calls = message.calls.map((call) => callView(call, around.results.get(call.id) ?? null));
    const waiting =
      streaming && !message.text && !calls.length
        ? [element("span", { class: "waiting", role: "img", aria: { label: "Waiting for the answer" } })]
        : [];
    this.foot.replaceChildren(...waiting, ...calls, ...(streaming ? [] : this.ending()));
  }

  ending() {
    const { message, around } = this;
    const again = iconButton("again", "Answer again", () => around.regenerate(message), { disabled: around.busy });
    const figures = element("span", { class: "muted figures", text: figuresOf(message) });
    const actions = element(
      "div",
      { class: "actions" },
      ...versions(message, around),
      copyButton(() => message.text, "Copy answer"),
      again,
      figures,
    );
    const ends = {
      length: "The answer reached its longest length.",
      stopped: "Stopped.",
      content_filter: "The server ended the answer.",
    };
    const note = ends[message.finish] ? [element("p", { class: "muted", text: ends[message.finish] })] : [];
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
    disabled: around.busy,
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
  const step = (name, label, to) =>
    iconButton(name, label, () => around.choose(all[to]), { disabled: around.busy || !(to in all) });
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
