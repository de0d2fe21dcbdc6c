// Calls of tools in an answer: name, arguments, and a field for the result.

import { codeBlock } from "./code_block.js";
import { element, icon } from "./element.js";

/** Arguments for the eye: indented where they are whole JSON, else as they came. */
export function readable(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // still streaming, or the model wrote no JSON
  }
}

/** The view of one call; `result` is the text that was given for it, null for none yet. */
export function callView(call, result) {
  const title = element(
    "h3",
    {},
    icon("tool"),
    element("span", { text: "Call of " }),
    element("code", { text: call.name }),
  );
  const view = element(
    "section",
    { class: "call", aria: { label: `Call of ${call.name}` } },
    title,
    codeBlock(readable(call.arguments), "arguments"),
  );
  if (result !== null)
    view.append(element("p", { class: "muted", text: "Result" }), codeBlock(readable(result), "result"));
  return view;
}

/** A form for the results of calls; `send` gets [{id, text}]. */
export function resultForm(calls, send) {
  const fields = calls.map((call, n) => {
    const id = `result-${n}`;
    const field = element("textarea", {
      id,
      rows: 2,
      class: "mono",
      placeholder: '{"temperature": 21}',
      spellcheck: false,
      dir: "ltr",
    });
    return {
      call,
      field,
      row: element("div", { class: "field" }, element("label", { htmlFor: id, text: `Result of ${call.name}` }), field),
    };
  });
  const form = element(
    "form",
    { class: "results" },
    ...fields.map(({ row }) => row),
    element("button", { class: "button primary", text: calls.length > 1 ? "Send results" : "Send result" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(fields.map(({ call, field }) => ({ id: call.id, text: field.value })));
  });
  return form;
}
