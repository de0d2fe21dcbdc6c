// Tabs of the page. One is shown only when the server has its route; one alone needs no tabs.

import { byId } from "./element.js";

const TABS = [
  { id: "chat", route: null },
  { id: "transcribe", route: "/v1/audio/transcriptions" },
];

export class Tabs {
  constructor() {
    this.bar = byId("tabs");
    this.shown = TABS.filter((tab) => tab.route === null);
    this.bar.addEventListener("keydown", (event) => this.keydown(event));
    for (const { id } of TABS) byId(`tab-${id}`).addEventListener("click", () => this.select(id));
    this.select("chat");
  }

  /** Show the tabs whose routes are among these paths. */
  offer(routes) {
    this.shown = TABS.filter(({ route }) => route === null || routes.has(route));
    for (const tab of TABS) byId(`tab-${tab.id}`).hidden = !this.shown.includes(tab);
    this.bar.hidden = this.shown.length < 2;
    if (!this.shown.some(({ id }) => id === this.selected)) this.select("chat");
  }

  select(selected) {
    this.selected = selected;
    for (const { id } of TABS) {
      const tab = byId(`tab-${id}`);
      tab.setAttribute("aria-selected", String(id === selected));
      tab.tabIndex = id === selected ? 0 : -1;
      byId(id).hidden = id !== selected;
    }
  }

  keydown(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const at = this.shown.findIndex(({ id }) => id === this.selected);
    const next = this.shown[(at + step + this.shown.length) % this.shown.length].id;
    this.select(next);
    byId(`tab-${next}`).focus();
  }
}
