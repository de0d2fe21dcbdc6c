// The dialogs of a conversation's settings, its tools, and the key.

import { key } from "./client.js";
import { element } from "./element.js";
import { modal } from "./modal.js";
import { readObject, readTools } from "./request.js";
import { DEFAULTS, NUMBERS, readNumber } from "./settings.js";

const FORMAT_NAMES = { text: "Text", json_object: "JSON", json_schema: "JSON by a schema" };
const TOOL_EXAMPLE = JSON.stringify(
  [
    {
      name: "get_weather",
      description: "Get the weather in a city.",
      parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
    },
  ],
  null,
  2,
);

function field(label, control, hint = "") {
  const hintId = `${control.id}-hint`;
  if (hint) control.setAttribute("aria-describedby", hintId);
  const words = hint ? element("p", { class: "hint", id: hintId, text: hint }) : null;
  return element("div", { class: "field" }, element("label", { htmlFor: control.id, text: label }), control, words);
}

/** A form whose `save` may throw RangeError or SyntaxError: the words are shown, and the dialog stays. */
function form(title, contents, save, extra = null) {
  const problem = element("p", { class: "problem", role: "alert", hidden: true });
  const buttons = element(
    "div",
    { class: "row end" },
    extra,
    element("button", { class: "button primary", text: "Save" }),
  );
  const node = element("form", { class: "stack" }, ...contents, problem, buttons);
  const dialog = modal(title, node);
  node.noValidate = true;
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    try {
      save();
      dialog.close();
    } catch (error) {
      if (!(error instanceof RangeError || error instanceof SyntaxError)) throw error;
      problem.textContent = error.message;
      problem.hidden = false;
    }
  });
  return dialog;
}

/** Edit settings; `save` gets the new ones. */
export function settingsDialog(settings, save) {
  const system = element("textarea", { id: "setting-system", rows: 3, value: settings.system, dir: "auto" });
  const numbers = Object.entries(NUMBERS).map(([name, { min, max, step }]) => {
    const value = settings[name] === null ? "" : String(settings[name]);
    return [
      name,
      element("input", {
        id: `setting-${name}`,
        type: "number",
        min,
        max,
        step,
        value,
        placeholder: "Server's default",
      }),
    ];
  });
  const format = element(
    "select",
    { id: "setting-format" },
    ...Object.entries(FORMAT_NAMES).map(([value, text]) => element("option", { value, text })),
  );
  const schema = element("textarea", {
    id: "setting-schema",
    rows: 5,
    class: "mono",
    value: settings.schema,
    spellcheck: false,
    dir: "ltr",
    placeholder: '{"type": "object", "properties": {}}',
  });
  const schemaField = field("JSON schema", schema);
  format.value = settings.format;
  const showSchema = () => (schemaField.hidden = format.value !== "json_schema");
  format.addEventListener("change", showSchema);
  showSchema();
  const reset = element("button", { type: "button", class: "button", text: "Reset" });
  const dialog = form(
    "Settings of this conversation",
    [
      field("System message", system, "Stands before the conversation."),
      element(
        "div",
        { class: "grid" },
        ...numbers.map(([name, control]) => field(NUMBERS[name].label, control, NUMBERS[name].hint)),
      ),
      field("Form of the answer", format),
      schemaField,
    ],
    () => {
      const read = Object.fromEntries(numbers.map(([name, control]) => [name, readNumber(name, badInput(control))]));
      if (format.value === "json_schema") readObject(schema.value, "The JSON schema");
      save({ ...settings, ...read, system: system.value, format: format.value, schema: schema.value });
    },
    reset,
  );
  reset.addEventListener("click", () => {
    dialog.close();
    save({ ...DEFAULTS, tools: settings.tools });
  });
}

/** A number field gives "" for what it cannot read; its own word for it is not lost. */
const badInput = (control) => (control.validity.badInput ? "not a number" : control.value);

/** Declare tools; `save` gets the text of JSON, "" for none. */
export function toolsDialog(text, save) {
  const tools = element("textarea", {
    id: "tools",
    rows: 14,
    class: "mono",
    value: text,
    spellcheck: false,
    dir: "ltr",
  });
  const example = element("button", {
    type: "button",
    class: "button",
    text: "Example",
    on: { click: () => (tools.value = TOOL_EXAMPLE) },
  });
  form(
    "Tools",
    [
      field(
        "Tools that the model may call, as JSON",
        tools,
        "A list in OpenAI's form, or of {name, description, parameters}. You type the results of calls yourself.",
      ),
    ],
    () => {
      if (tools.value.trim()) readTools(tools.value);
      save(tools.value.trim());
    },
    example,
  );
}

/** Ask for the API key; `saved` is called when it is set. */
export function keyDialog(saved) {
  const input = element("input", {
    id: "api-key",
    type: "password",
    value: key.get(),
    autocomplete: "off",
    spellcheck: false,
  });
  const keep = element("input", { id: "keep-key", type: "checkbox", checked: key.kept() });
  const kept = element(
    "div",
    { class: "check" },
    keep,
    element("label", { htmlFor: "keep-key", text: "Keep it in this browser" }),
  );
  form(
    "API key",
    [field("Key of this server", input, "Without the mark below it is forgotten when this tab is closed."), kept],
    () => {
      key.set(input.value.trim(), keep.checked);
      saved();
    },
  );
}
