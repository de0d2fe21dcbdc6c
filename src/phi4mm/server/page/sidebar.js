// The list of conversations: search, open, rename, export, delete.

import { matches, titleOf } from "./conversation.js";
import { byId, element, iconButton } from "./element.js";
import { modal } from "./modal.js";

const DAY = 24 * 3600 * 1000;
const NARROW = matchMedia("(max-width: 760px)");

export class Sidebar {
  /** `actions`: open, rename, remove, exportOne. */
  constructor(actions) {
    Object.assign(this, { actions, conversations: [], current: null, seen: [] });
    this.node = byId("sidebar");
    this.list = byId("conversation-list");
    this.search = byId("search");
    this.menu = byId("menu");
    this.search.addEventListener("input", () => this.draw());
    this.menu.addEventListener("click", () => this.setOpen(!this.isOpen()));
    byId("close-sidebar").addEventListener("click", () => this.setOpen(false));
    byId("scrim").addEventListener("click", () => this.setOpen(false));
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && NARROW.matches) this.setOpen(false);
    });
    document.addEventListener("keydown", (event) => {
      if (event.key !== "k" || !(event.ctrlKey || event.metaKey) || document.querySelector("dialog[open]")) return;
      event.preventDefault();
      this.setOpen(true);
      this.search.focus();
    });
    NARROW.addEventListener("change", () => this.setOpen(!NARROW.matches, false));
    this.setOpen(!NARROW.matches, false);
  }

  isOpen() {
    return document.body.classList.contains("with-sidebar");
  }

  setOpen(open, moveFocus = true) {
    document.body.classList.toggle("with-sidebar", open);
    this.node.inert = !open;
    byId("main").inert = open && NARROW.matches;
    this.menu.setAttribute("aria-expanded", String(open));
    if (moveFocus) (open ? byId("new") : this.menu).focus();
  }

  show(conversations, current) {
    Object.assign(this, { conversations, current });
    this.draw();
  }

  draw() {
    const found = this.conversations.filter((one) => matches(one, this.search.value));
    const seen = [this.search.value, this.current, ...found.flatMap((one) => [one, titleOf(one), age(one.updated)])];
    // Drawn only when it looks another way: a growing answer must not take the focus from the list.
    if (seen.length === this.seen.length && seen.every((one, n) => one === this.seen[n])) return;
    this.seen = seen;
    const groups = Map.groupBy(found, (one) => age(one.updated));
    const nodes = [...groups].map(([name, members]) =>
      element("section", {}, element("h2", { text: name }), element("ul", {}, ...members.map((one) => this.item(one)))),
    );
    const none = this.search.value ? "Nothing found" : "No conversations yet";
    this.list.replaceChildren(...(nodes.length ? nodes : [element("p", { class: "muted", text: none })]));
  }

  item(conversation) {
    const title = titleOf(conversation);
    const open = element("button", {
      type: "button",
      class: "open",
      dir: "auto",
      title,
      text: title,
      on: { click: () => this.choose(conversation) },
    });
    if (conversation.id === this.current) open.setAttribute("aria-current", "page");
    const act = (name, label, run) => iconButton(name, `${label}: ${title}`, run);
    const actions = element(
      "span",
      { class: "item-actions" },
      act("edit", "Rename", () => this.rename(conversation)),
      act("save", "Export", () => this.actions.exportOne(conversation)),
      act("delete", "Delete", () => this.actions.remove(conversation)),
    );
    return element("li", {}, open, actions);
  }

  choose(conversation) {
    this.actions.open(conversation);
    if (NARROW.matches) this.setOpen(false);
  }

  rename(conversation) {
    const field = element("input", { id: "title", value: titleOf(conversation), dir: "auto" });
    field.maxLength = 200;
    const form = element(
      "form",
      { class: "stack" },
      element("label", { htmlFor: "title", text: "Title" }),
      field,
      element("div", { class: "row end" }, element("button", { class: "button primary", text: "Save" })),
    );
    const dialog = modal("Rename", form);
    field.select();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      dialog.close();
      this.actions.rename(conversation, field.value.trim() || null);
    });
  }
}

function age(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  if (time >= today - DAY) return "Yesterday";
  return time >= today - 7 * DAY ? "Last seven days" : "Older";
}
