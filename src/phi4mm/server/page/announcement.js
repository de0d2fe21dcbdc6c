// Short words to the reader: a line that goes away, and what only a screen reader says.

import { byId, element } from "./element.js";

const SHOWN = 6000; // milliseconds
let timer = null;

/** Show a line at the foot of the page, with an action where one is given: {label, run}. */
export function notify(text, action = null) {
  clearTimeout(timer);
  const place = byId("notice");
  place.replaceChildren(element("span", { text }));
  if (action) {
    const run = () => {
      place.hidden = true;
      action.run();
    };
    place.append(element("button", { type: "button", class: "button plain", text: action.label, on: { click: run } }));
  }
  place.hidden = false;
  timer = setTimeout(() => (place.hidden = true), SHOWN);
}

/** Have a screen reader say this when it is silent. */
export function announce(text) {
  byId("announcement").textContent = text;
}
