// What a conversation asks for beside its messages. null: the server's own default.

export const FORMATS = ["text", "json_object", "json_schema"];
export const NUMBERS = {
  temperature: {
    label: "Temperature",
    min: 0,
    max: 2,
    step: 0.05,
    whole: false,
    hint: "0 always takes the likeliest word; higher is more varied.",
  },
  top_p: {
    label: "Top p",
    min: 0.01,
    max: 1,
    step: 0.01,
    whole: false,
    hint: "Draw only among the likeliest words that make up this share.",
  },
  max_tokens: {
    label: "Longest answer, in tokens",
    min: 1,
    max: 131072,
    step: 1,
    whole: true,
    hint: "The answer ends there; about three words are four tokens.",
  },
  seed: {
    label: "Seed",
    min: 0,
    max: 2 ** 32 - 1,
    step: 1,
    whole: true,
    hint: "The same seed and settings give the same answer.",
  },
};
export const DEFAULTS = {
  system: "",
  temperature: null,
  top_p: null,
  max_tokens: null,
  seed: null,
  format: "text",
  schema: "",
  tools: "",
};
const LAST = "phi4mm settings";

/** The number that a field's text stands for: null where it is empty. Throws RangeError that says what is expected. */
export function readNumber(name, text) {
  if (!text.trim()) return null;
  const { label, min, max, whole } = NUMBERS[name];
  const value = Number(text);
  if (!fits(name, value))
    throw new RangeError(`${label} must be ${whole ? "a whole number" : "a number"} from ${min} to ${max}.`);
  return value;
}

/** Whether a number may be a setting of this name. */
export function fits(name, value) {
  const { min, max, whole } = NUMBERS[name];
  return Number.isFinite(value) && value >= min && value <= max && (!whole || Number.isInteger(value));
}

/** The settings of the last conversation: where the next one begins. Tools and formats belong to one conversation. */
export function lastSettings() {
  try {
    const { system, ...numbers } = JSON.parse(localStorage.getItem(LAST) ?? "{}");
    const good = Object.entries(numbers).filter(([name, value]) => name in NUMBERS && fits(name, value));
    return { ...DEFAULTS, ...Object.fromEntries(good), system: typeof system === "string" ? system : "" };
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return { ...DEFAULTS };
    throw error;
  }
}

/** Keep settings for the next conversation. */
export function keepSettings({ system, temperature, top_p, max_tokens, seed }) {
  localStorage.setItem(LAST, JSON.stringify({ system, temperature, top_p, max_tokens, seed }));
}
