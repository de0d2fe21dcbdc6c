// A conversation: messages in a tree, so that an edit or another answer keeps what was there. Plain data, no DOM.

export const ROLES = ["user", "assistant", "tool"];

/** 16 letters that name something; crypto.randomUUID is missing without a secure context. */
export function newId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** An empty conversation with these settings. */
export function newConversation(settings) {
  const now = Date.now();
  return {
    id: newId(),
    title: null,
    created: now,
    updated: now,
    model: null,
    settings: { ...settings },
    messages: [],
    leaf: null,
  };
}

/** A message of a role; `fields` may give text, attachments, calls and call (the id of the call that it answers). */
export function newMessage(role, fields = {}) {
  return {
    id: newId(),
    parent: null,
    role,
    text: "",
    attachments: [],
    calls: [],
    call: null,
    model: null,
    usage: null,
    finish: null,
    error: null,
    ...fields,
  };
}

/** Put a message below `parent` (by default the last one shown) and show it. */
export function append(conversation, message, parent = conversation.leaf) {
  message.parent = parent;
  conversation.messages.push(message);
  conversation.leaf = message.id;
  conversation.updated = Date.now();
  return message;
}

/** The messages shown: from the first down to the leaf. */
export function path(conversation) {
  const shown = [];
  const byId = new Map(conversation.messages.map((message) => [message.id, message]));
  for (let at = byId.get(conversation.leaf); at; at = byId.get(at.parent)) shown.unshift(at);
  return shown;
}

/** The messages that stand in the same place, this one among them. */
export function siblings(conversation, message) {
  return conversation.messages.filter((other) => other.parent === message.parent);
}

/** Show a message and, below it, what was written last. */
export function choose(conversation, message) {
  let at = message;
  for (let next = at; next; next = conversation.messages.findLast((other) => other.parent === at.id)) at = next;
  conversation.leaf = at.id;
}

/** Take a message back that nothing follows, as when a request was refused and is tried again. */
export function remove(conversation, message) {
  conversation.messages = conversation.messages.filter((other) => other.id !== message.id);
  conversation.leaf = message.parent;
}

/** The results that follow an answer, by the ids of its calls. Another answer may have calls of the same ids. */
export function results(shown, answer) {
  const found = new Map();
  for (let at = shown.indexOf(answer) + 1; shown[at]?.role === "tool"; at += 1)
    found.set(shown[at].call, shown[at].text);
  return found;
}

/** The calls of an answer at the end that have no result. */
export function openCalls(conversation) {
  const last = path(conversation).at(-1);
  return last?.role === "assistant" ? last.calls : [];
}

/** The title: the given one, else the first words of the first message. */
export function titleOf(conversation) {
  if (conversation.title) return conversation.title;
  const first = conversation.messages.find((message) => message.role === "user");
  const text = first?.text.trim().replace(/\s+/g, " ");
  if (text) return text.length > 60 ? `${text.slice(0, 59).trimEnd()}…` : text;
  if (first?.attachments.length) return first.attachments[0].kind === "image" ? "An image" : "An audio clip";
  return "New conversation";
}

/** Whether all words of the query are in the title or in a message. */
export function matches(conversation, query) {
  const words = query.toLocaleLowerCase().split(/\s+/).filter(Boolean);
  if (!words.length) return true;
  const text = [titleOf(conversation), ...conversation.messages.map((message) => message.text)]
    .join("\n")
    .toLocaleLowerCase();
  return words.every((word) => text.includes(word));
}

/** What a request holds: the messages down to `last`, without failed answers and calls that were never answered. */
export function history(conversation, last) {
  const shown = path({ ...conversation, leaf: last });
  return shown
    .map((message) => {
      const answered = results(shown, message);
      return { ...message, calls: message.calls.filter((call) => answered.has(call.id)) };
    })
    .filter((message) => message.role !== "assistant" || message.text || message.calls.length);
}
