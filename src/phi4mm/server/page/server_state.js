// Whether the server is there, and what it offers: models, adapters, routes.

import { models, routes, ServerError } from "./client.js";
import { byId, element } from "./element.js";

const RETRY = 5000; // milliseconds between looks while it is away
const MODEL = "phi4mm model";

export class ServerState {
  /** `actions`: askKey(), offer(routes). */
  constructor(actions) {
    Object.assign(this, { actions, timer: null });
    this.select = byId("model");
    this.banner = byId("banner");
    this.select.addEventListener("change", () => localStorage.setItem(MODEL, this.select.value));
    byId("reconnect").addEventListener("click", () => this.look());
  }

  /** The chosen model or adapter; "" while none is known. */
  get model() {
    return this.select.value;
  }

  /** Choose a model where the server has it. */
  choose(model) {
    if ([...this.select.options].some((option) => option.value === model)) this.select.value = model;
  }

  /** Ask what there is; asks again by itself while the server is away. */
  async look() {
    clearTimeout(this.timer);
    try {
      this.list(await models());
      this.banner.hidden = true;
      this.actions.offer(await routes());
    } catch (error) {
      if (!(error instanceof ServerError || error instanceof SyntaxError)) throw error;
      this.away(error);
    }
  }

  away(error) {
    const keyed = error.status === 401 || error.status === 403;
    const words = {
      0: "The server cannot be reached. Your conversations stay readable.",
      503: "The server is not ready yet.",
    };
    byId("banner-text").textContent = keyed
      ? "This server asks for an API key."
      : (words[error.status] ?? error.message);
    this.banner.hidden = false;
    if (keyed) this.actions.askKey();
    else this.timer = setTimeout(() => this.look(), RETRY);
  }

  list(found) {
    const before = this.select.value || localStorage.getItem(MODEL);
    const option = ({ id }) => element("option", { value: id, text: id });
    const bases = found.filter((one) => one.parent === null);
    const groups = Map.groupBy(
      found.filter((one) => one.parent !== null),
      (one) => one.parent,
    );
    const adapters = [...groups].map(([parent, members]) => {
      const group = element("optgroup", {}, ...members.map(option));
      group.label = `Adapters of ${parent}`;
      return group;
    });
    this.select.replaceChildren(...bases.map(option), ...adapters);
    this.select.hidden = !found.length;
    this.choose(before);
  }
}
