// The server's routes: what it offers, and answers as they come. The key never leaves for another origin.

import { events } from "./event_stream.js";

const MAX_ANSWER = 4 * 2 ** 20; // characters
const KEY = "phi4mm key";

/** What the server said no with: status (0: not reached), message, and seconds to wait where it named them. */
export class ServerError extends Error {
  constructor(status, message, { retryAfter = null, code = null } = {}) {
    super(message);
    Object.assign(this, { name: "ServerError", status, retryAfter, code });
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? "",
  kept: () => localStorage.getItem(KEY) !== null,
  /** Keep the key for this tab, or in this browser where `keep` is true; an empty one is forgotten. */
  set(value, keep) {
    sessionStorage.removeItem(KEY);
    localStorage.removeItem(KEY);
    if (value) (keep ? localStorage : sessionStorage).setItem(KEY, value);
  },
};

/** Ask a route. Throws ServerError where the server is not reached or answers with an error. */
export async function ask(route, { body, signal, form } = {}) {
  const headers = key.get() ? { Authorization: `Bearer ${key.get()}` } : {};
  if (body) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(route, { method: body || form ? "POST" : "GET", headers, body: body ?? form, signal });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "The server cannot be reached.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const text = (await response.text().catch(() => "")).slice(0, 20000);
  let said = null;
  try {
    said = JSON.parse(text)?.error;
  } catch {
    said = null; // a proxy's HTML is not shown
  }
  const seconds = Number(response.headers.get("Retry-After"));
  const message =
    typeof said?.message === "string" ? said.message.slice(0, 2000) : `The server answered ${response.status}.`;
  const retryAfter = Number.isFinite(seconds) && seconds > 0 ? Math.min(seconds, 3600) : null;
  return new ServerError(response.status, message, { retryAfter, code: said?.code ?? null });
}

/** The models, {id, parent: null}, and adapters, whose parent is the model that the server calls parent or owner. */
export async function models() {
  const { data } = await (await ask("v1/models")).json();
  if (!Array.isArray(data)) throw new ServerError(502, "The server's list of models is not one.");
  const named = data.filter((one) => typeof one?.id === "string").slice(0, 1000);
  const ids = new Set(named.map(({ id }) => id));
  return named.map(({ id, parent, owned_by: owner }) => ({
    id,
    parent: [parent, owner].find((one) => ids.has(one)) ?? null,
  }));
}

/** The paths that the server describes in /openapi.json; none where it describes nothing. */
export async function routes() {
  try {
    const described = await (await ask("openapi.json")).json();
    return new Set(Object.keys(described?.paths ?? {}));
  } catch (error) {
    if (error instanceof ServerError || error instanceof SyntaxError) return new Set();
    throw error;
  }
}

/**
 * The chunks of a streamed chat answer.
 * Throws ServerError for a refusal, an error within the stream, and a stream that ends before its end.
 */
export async function* chat(body, signal) {
  const response = await ask("v1/chat/completions", { body, signal });
  let length = 0;
  let finished = false;
  try {
    for await (const data of events(response.body)) {
      if (data === "[DONE]") return;
      length += data.length;
      if (length > 64 * MAX_ANSWER) throw new ServerError(502, "The answer is too long for this page.");
      const chunk = parsed(data);
      if (chunk.error)
        throw new ServerError(
          chunk.error.code ?? 500,
          String(chunk.error.message ?? "The answer failed.").slice(0, 2000),
        );
      finished ||= Boolean(chunk.choices?.[0]?.finish_reason);
      yield chunk;
    }
  } catch (error) {
    if (error instanceof RangeError) throw new ServerError(502, error.message);
    if (error instanceof TypeError) throw new ServerError(0, "The connection was lost before the answer was whole.");
    throw error;
  }
  if (!finished) throw new ServerError(0, "The connection was lost before the answer was whole.");
}

function parsed(data) {
  try {
    const chunk = JSON.parse(data);
    if (chunk !== null && typeof chunk === "object") return chunk;
  } catch {
    // told below
  }
  throw new ServerError(502, "The server sent something that is not an answer.");
}
