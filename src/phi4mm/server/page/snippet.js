// The request of a conversation as code: a curl command and a Python program. Media are read from files by their names.

import { requestBody } from "./request.js";

// A mark cannot come from a message: it is made anew for each snippet.
const marker = () => `media-${crypto.getRandomValues(new Uint32Array(2)).join("-")}-`;

function marked(conversation, last, model) {
  const mark = marker();
  const files = [];
  const body = requestBody(conversation, last, model, (one) => `${mark}${files.push(one.name) - 1};`);
  return { body, files, mark };
}

/** A command for a POSIX shell with curl. A here-document has no longest length, and no line of JSON is END. */
export function curl(conversation, last, model, { origin, withKey }) {
  const { body, files, mark } = marked(conversation, last, model);
  let data = JSON.stringify(body, null, 2).replace(/[\\$`]/g, "\\$&");
  files.forEach((name, n) => {
    data = data.replace(`${mark}${n};`, () => `$(base64 < ${quoted(name)} | tr -d '\\n')`);
  });
  const authorization = withKey ? ` \\\n  -H "Authorization: Bearer $OPENAI_API_KEY"` : "";
  return (
    `curl -sSN ${quoted(`${origin}/v1/chat/completions`)} \\\n  -H "Content-Type: application/json"${authorization} \\\n` +
    `  --data-binary @- <<END\n${data}\nEND\n`
  );
}

const quoted = (text) => (/^-/.test(text) ? `'./${inner(text)}'` : `'${inner(text)}'`);
const inner = (text) => text.replaceAll("'", "'\\''");

/** A program for OpenAI's Python client. */
export function python(conversation, last, model, { origin, withKey }) {
  const { body, files, mark } = marked(conversation, last, model);
  const { stream_options: _, ...fields } = body;
  const given = Object.entries(fields)
    .map(([name, value]) => `    ${name}=${literal(value, 1, files, mark)},`)
    .join("\n");
  const imports = [
    ...(files.length ? ["import base64"] : []),
    ...(withKey ? ["import os"] : []),
    ...(files.length ? ["from pathlib import Path"] : []),
  ];
  const reader = files.length
    ? "\n\ndef media(name):\n    return base64.b64encode(Path(name).read_bytes()).decode()\n\n"
    : "";
  const calls = fields.tools ? CALLS : "";
  const apiKey = withKey ? 'os.environ["OPENAI_API_KEY"]' : '"none"';
  return `${imports.join("\n")}${imports.length ? "\n\n" : ""}from openai import OpenAI\n${reader}
client = OpenAI(base_url=${JSON.stringify(`${origin}/v1`)}, api_key=${apiKey})
stream = client.chat.completions.create(
${given}
)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
${calls}print()
`;
}

// A call comes in pieces: its name first, then its arguments.
const CALLS = `    for call in (chunk.choices and chunk.choices[0].delta.tool_calls) or []:
        if call.function.name:
            print(f"\\n{call.function.name} ", end="")
        print(call.function.arguments or "", end="", flush=True)
`;

/** A value of JSON in Python's spelling. */
function literal(value, depth, files, mark) {
  const indent = "    ".repeat(depth + 1);
  const close = `\n${"    ".repeat(depth)}`;
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return string(value, files, mark);
  if (typeof value === "number") return String(value);
  const items = Array.isArray(value)
    ? value.map((one) => literal(one, depth + 1, files, mark))
    : Object.entries(value).map(([name, one]) => `${JSON.stringify(name)}: ${literal(one, depth + 1, files, mark)}`);
  const [left, right] = Array.isArray(value) ? "[]" : "{}";
  const short = items.join(", ");
  if (short.length < 80 && !short.includes("\n")) return `${left}${short}${right}`;
  return `${left}${items.map((item) => `\n${indent}${item},`).join("")}${close}${right}`;
}

function string(value, files, mark) {
  const at = value.indexOf(mark);
  if (at === -1) return JSON.stringify(value);
  const name = files[Number.parseInt(value.slice(at + mark.length), 10)];
  const before = value.slice(0, at);
  return `${before ? `${JSON.stringify(before)} + ` : ""}media(${JSON.stringify(name)})`;
}
