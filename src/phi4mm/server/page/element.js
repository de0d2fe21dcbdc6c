// DOM nodes from plain values. Text only ever becomes text nodes; no string is read as HTML anywhere in the page.

const PROPERTIES = new Set([
  "value",
  "checked",
  "disabled",
  "hidden",
  "open",
  "tabIndex",
  "type",
  "src",
  "href",
  "alt",
  "title",
  "id",
  "dir",
  "lang",
  "rows",
  "htmlFor",
  "placeholder",
  "accept",
  "multiple",
  "controls",
  "spellcheck",
  "download",
  "method",
  "autocomplete",
  "min",
  "max",
  "step",
  "name",
  "target",
  "rel",
  "colSpan",
  "loading",
  "autoplay",
  "muted",
  "playsInline",
]);
const SVG = "http://www.w3.org/2000/svg";

/** An element. `text` is its text, `class` its classes, `on` its listeners, `aria` and `data` those attributes. */
export function element(tag, { text, on = {}, aria = {}, data = {}, ...rest } = {}, ...children) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  // Before the properties: with dir=auto each child that comes later would be read again for its direction.
  node.append(...children.filter((child) => child !== null && child !== undefined));
  for (const [name, value] of Object.entries(rest)) {
    if (value === undefined || value === null) continue;
    if (PROPERTIES.has(name)) node[name] = value;
    else if (name === "class") node.className = value;
    else if (name === "role" || name === "scope") node.setAttribute(name, value);
    else throw new Error(`element ${tag} has no property ${name}`);
  }
  for (const [name, value] of Object.entries(aria)) node.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(data)) node.dataset[name] = value;
  for (const [name, listener] of Object.entries(on)) node.addEventListener(name, listener);
  return node;
}

/** A sign of index.html, hidden from screen readers: the control around it has the name. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("focusable", "false");
  use.setAttribute("href", `#icon-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon, and with words beside it where `words` is true; else the label is its tooltip. */
export function iconButton(name, label, click, { words = false, ...rest } = {}) {
  const inside = words ? [icon(name), element("span", { text: label })] : [icon(name)];
  const named = words ? {} : { title: label, aria: { label } };
  const button = element(
    "button",
    { type: "button", class: words ? "button" : "button quiet", ...named, ...rest },
    ...inside,
  );
  button.addEventListener("click", click);
  return button;
}

/** The element of index.html with this id. */
export const byId = (id) => {
  const node = document.getElementById(id);
  if (node === null) throw new Error(`the page has no element #${id}`);
  return node;
};
