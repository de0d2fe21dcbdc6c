// Conversations as a file, and back. A file is untrusted: every value is checked before one conversation is kept.

import { KINDS, MAX_BYTES, UNFIT } from "./attachment.js";
import { newId, ROLES } from "./conversation.js";
import { base64 } from "./request.js";
import { DEFAULTS, fits, FORMATS, NUMBERS } from "./settings.js";

const FORMAT = "phi4mm conversations";
const VERSION = 1;
const MAX_FILE = 512 * 2 ** 20; // bytes
const MAX_TEXT = 4 * 2 ** 20; // characters
const MAX_COUNT = 10000;
const ID = /^[0-9a-f]{16}$/;

/** The text of an archive, with the media in base64. */
export async function exported(conversations) {
  const plain = await Promise.all(
    conversations.map(async (one) => ({
      ...one,
      messages: await Promise.all(
        one.messages.map(async (message) => ({
          ...message,
          attachments: await Promise.all(
            message.attachments.map(async ({ blob, ...rest }) => ({ ...rest, data: await base64(blob) })),
          ),
        })),
      ),
    })),
  );
  return JSON.stringify({ format: FORMAT, version: VERSION, conversations: plain }, null, 1);
}

/** The conversations of an archive's file. Throws TypeError that names what is wrong, and where. */
export async function imported(file) {
  if (file.size > MAX_FILE) throw new TypeError(`The file has ${file.size} bytes; at most ${MAX_FILE} are read.`);
  let value;
  try {
    value = JSON.parse(await file.text());
  } catch (error) {
    throw new TypeError(`The file is not JSON. ${error.message}`);
  }
  object(value, "the file", ["format", "version", "conversations"]);
  if (value.format !== FORMAT || value.version !== VERSION) {
    throw new TypeError(
      `The file is not an export of this page: "format" must be "${FORMAT}" and "version" ${VERSION}.`,
    );
  }
  return list(value.conversations, "conversations").map(readConversation);
}

function wrong(at, expected) {
  throw new TypeError(`${at} must be ${expected}.`);
}

function object(value, at, names) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) wrong(at, "an object");
  const unknown = Object.keys(value).find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TypeError(`${at} has the unknown field "${unknown.slice(0, 60)}".`);
  const missing = names.find((name) => !Object.hasOwn(value, name));
  if (missing !== undefined) throw new TypeError(`${at} lacks the field "${missing}".`);
  return value;
}

function list(value, at) {
  if (!Array.isArray(value) || value.length > MAX_COUNT) wrong(at, `a list of at most ${MAX_COUNT}`);
  return value;
}

const text = (value, at, max = MAX_TEXT) =>
  typeof value === "string" && value.length <= max ? value : wrong(at, `text of at most ${max} characters`);
const id = (value, at) =>
  typeof value === "string" && ID.test(value) ? value : wrong(at, "16 digits and letters a to f");
const time = (value, at) => (Number.isSafeInteger(value) && value >= 0 ? value : wrong(at, "a time in milliseconds"));
const oneOf = (value, at, names) => (names.includes(value) ? value : wrong(at, `one of ${names.join(", ")}`));
const orNull = (read) => (value, at) => (value === null ? null : read(value, at));

function readConversation(value, n) {
  const at = `conversations[${n}]`;
  object(value, at, ["id", "title", "created", "updated", "model", "settings", "messages", "leaf"]);
  const messages = [];
  const ids = new Set();
  list(value.messages, `${at}.messages`).forEach((one, m) => {
    const message = readMessage(one, `${at}.messages[${m}]`);
    // Parents come first, so no message is its own ancestor.
    if (message.parent !== null && !ids.has(message.parent)) wrong(`${at}.messages[${m}].parent`, "an earlier message");
    if (ids.has(message.id)) wrong(`${at}.messages[${m}].id`, "used once");
    ids.add(message.id);
    messages.push(message);
  });
  const leaf = orNull(id)(value.leaf, `${at}.leaf`);
  if (leaf !== null && !ids.has(leaf)) wrong(`${at}.leaf`, "one of the messages");
  return {
    id: id(value.id, `${at}.id`),
    title: orNull((one, where) => text(one, where, 200))(value.title, `${at}.title`),
    created: time(value.created, `${at}.created`),
    updated: time(value.updated, `${at}.updated`),
    model: orNull((one, where) => text(one, where, 500))(value.model, `${at}.model`),
    settings: readSettings(value.settings, `${at}.settings`),
    messages,
    leaf,
  };
}

function readSettings(value, at) {
  object(value, at, Object.keys(DEFAULTS));
  for (const name of Object.keys(NUMBERS)) {
    if (value[name] !== null && !fits(name, value[name])) wrong(`${at}.${name}`, "null or a number within its bounds");
  }
  for (const name of ["system", "schema", "tools"]) text(value[name], `${at}.${name}`);
  oneOf(value.format, `${at}.format`, FORMATS);
  return { ...value };
}

function readMessage(value, at) {
  object(value, at, [
    "id",
    "parent",
    "role",
    "text",
    "attachments",
    "calls",
    "call",
    "model",
    "usage",
    "finish",
    "error",
  ]);
  return {
    id: id(value.id, `${at}.id`),
    parent: orNull(id)(value.parent, `${at}.parent`),
    role: oneOf(value.role, `${at}.role`, ROLES),
    text: text(value.text, `${at}.text`),
    attachments: list(value.attachments, `${at}.attachments`).map((one, n) =>
      readAttachment(one, `${at}.attachments[${n}]`),
    ),
    calls: list(value.calls, `${at}.calls`).map((one, n) => readCall(one, `${at}.calls[${n}]`)),
    call: orNull((one, where) => text(one, where, 500))(value.call, `${at}.call`),
    model: orNull((one, where) => text(one, where, 500))(value.model, `${at}.model`),
    usage: orNull(readUsage)(value.usage, `${at}.usage`),
    finish: orNull((one, where) => text(one, where, 100))(value.finish, `${at}.finish`),
    error: orNull((one, where) => text(one, where, 2000))(value.error, `${at}.error`),
  };
}

function readUsage(value, at) {
  object(value, at, ["prompt", "answer", "seconds"]);
  for (const [name, number] of Object.entries(value))
    if (!Number.isFinite(number) || number < 0) wrong(`${at}.${name}`, "a number");
  return { ...value };
}

function readCall(value, at) {
  object(value, at, ["id", "name", "arguments"]);
  return {
    id: text(value.id, `${at}.id`, 500),
    name: text(value.name, `${at}.name`, 500),
    arguments: text(value.arguments, `${at}.arguments`),
  };
}

function readAttachment(value, at) {
  object(value, at, ["id", "kind", "name", "type", "data"]);
  const kind = oneOf(value.kind, `${at}.kind`, Object.keys(KINDS));
  const type = oneOf(value.type, `${at}.type`, KINDS[kind]);
  const data = text(value.data, `${at}.data`, Math.ceil(MAX_BYTES / 3) * 4);
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(data) || data.length % 4 !== 0) wrong(`${at}.data`, "base64");
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  id(value.id, `${at}.id`);
  const name = text(value.name, `${at}.name`, 255);
  if (name.search(UNFIT) !== -1) wrong(`${at}.name`, "a file's name alone");
  return { id: newId(), kind, name, type, blob: new Blob([bytes], { type }) };
}
