// One answer from the server, piece by piece, into a message.

import { chat, ServerError } from "./client.js";
import { requestText } from "./request.js";

const MAX_CALLS = 128;

/**
 * Ask for the answer to what stands above the message, and write it into the message as it comes.
 * `changed()` is called after each piece. Throws ServerError and AbortError; what had come stays.
 */
export async function generate(conversation, message, model, signal, changed) {
  const body = await requestText(conversation, message.parent, model);
  const began = performance.now();
  message.model = model;
  for await (const chunk of chat(body, signal)) {
    take(chunk, message, (performance.now() - began) / 1000);
    changed();
  }
}

function take(chunk, message, seconds) {
  const choice = chunk.choices?.[0];
  const delta = choice?.delta ?? {};
  if (typeof delta.content === "string") message.text += delta.content;
  if (typeof delta.refusal === "string") message.text += delta.refusal;
  for (const piece of Array.isArray(delta.tool_calls) ? delta.tool_calls : []) takeCall(piece, message);
  if (typeof choice?.finish_reason === "string") message.finish = choice.finish_reason.slice(0, 100);
  const { prompt_tokens: prompt, completion_tokens: answer } = chunk.usage ?? {};
  if (Number.isFinite(prompt) && Number.isFinite(answer)) message.usage = { prompt, answer, seconds };
}

function takeCall(piece, message) {
  const index = piece?.index ?? message.calls.length;
  if (!Number.isInteger(index) || index < 0 || index >= MAX_CALLS || index > message.calls.length) {
    throw new ServerError(502, "The server sent a tool call out of order.");
  }
  const call = (message.calls[index] ??= { id: `call-${index}`, name: "", arguments: "" });
  if (typeof piece.id === "string" && piece.id) call.id = piece.id.slice(0, 500);
  if (typeof piece.function?.name === "string") call.name = (call.name + piece.function.name).slice(0, 500);
  if (typeof piece.function?.arguments === "string") call.arguments += piece.function.arguments;
}
