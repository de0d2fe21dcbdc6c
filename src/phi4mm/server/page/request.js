// A conversation as the body of POST /v1/chat/completions.

import { history } from "./conversation.js";

const EXTENSIONS = {
  "audio/wav": "wav",
  "audio/x-wav": "wav",
  "audio/mpeg": "mp3",
  "audio/flac": "flac",
  "audio/ogg": "ogg",
  "audio/mp4": "m4a",
  "audio/webm": "webm",
  "audio/aac": "aac",
};

/**
 * The body as an object. `media(attachment)` gives what stands for its bytes in base64: the bytes themselves for a
 * request, a mark for code that reads them from a file.
 */
export function requestBody(conversation, last, model, media) {
  const { settings } = conversation;
  const messages = history(conversation, last).map((message) => chatMessage(message, media));
  if (settings.system.trim()) messages.unshift({ role: "system", content: settings.system });
  const body = { model, messages, stream: true, stream_options: { include_usage: true } };
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
    if (settings[name] !== null) body[name] = settings[name];
  }
  if (settings.tools.trim()) body.tools = readTools(settings.tools);
  if (settings.format === "json_object") body.response_format = { type: "json_object" };
  if (settings.format === "json_schema") {
    const schema = readObject(settings.schema, "The JSON schema");
    body.response_format = { type: "json_schema", json_schema: { name: "answer", strict: true, schema } };
  }
  return body;
}

/** The same with the media read: text of JSON. */
export async function requestText(conversation, last, model) {
  const shown = history(conversation, last).flatMap((message) => message.attachments);
  const read = new Map(await Promise.all(shown.map(async (one) => [one, await base64(one.blob)])));
  return JSON.stringify(requestBody(conversation, last, model, (one) => read.get(one)));
}

function chatMessage(message, media) {
  if (message.role === "tool") return { role: "tool", tool_call_id: message.call, content: message.text };
  if (message.role === "assistant") {
    const calls = message.calls.map(({ id, name, arguments: given }) => ({
      id,
      type: "function",
      function: { name, arguments: given },
    }));
    return { role: "assistant", content: message.text, ...(calls.length ? { tool_calls: calls } : {}) };
  }
  if (!message.attachments.length) return { role: "user", content: message.text };
  const parts = message.attachments.map((one) => part(one, media(one)));
  if (message.text) parts.push({ type: "text", text: message.text });
  return { role: "user", content: parts };
}

function part({ kind, type, name }, data) {
  if (kind === "image") return { type: "image_url", image_url: { url: `data:${type};base64,${data}` } };
  const format = EXTENSIONS[type] ?? /\.([a-z0-9]{1,5})$/i.exec(name)?.[1].toLowerCase() ?? "wav";
  return { type: "input_audio", input_audio: { data, format } };
}

/** Declared tools: a JSON list, or one object, flat or in OpenAI's form. Throws SyntaxError that says what is wrong. */
export function readTools(text) {
  const value = readJson(text, "The tools");
  const list = Array.isArray(value) ? value : [value];
  return list.map((tool, n) => {
    const named = tool?.function ?? tool;
    if (typeof named?.name !== "string" || !named.name) throw new SyntaxError(`Tool ${n + 1} has no name.`);
    return tool.function ? tool : { type: "function", function: named };
  });
}

/** A JSON object. Throws SyntaxError that says what is wrong. */
export function readObject(text, what) {
  const value = readJson(text, what);
  if (value === null || typeof value !== "object" || Array.isArray(value))
    throw new SyntaxError(`${what} must be an object: { … }.`);
  return value;
}

function readJson(text, what) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new SyntaxError(`${what} must be JSON. ${error.message}`);
  }
}

/** The bytes of a blob in base64; the browser reads and encodes them beside the page's thread. */
export function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
