// All conversations of this browser: kept, listed, exported, imported.

import { notify } from "./announcement.js";
import { exported, imported } from "./archive.js";
import { stamp } from "./camera.js";
import { newId, titleOf } from "./conversation.js";
import { element } from "./element.js";
import * as store from "./store.js";

export class Library {
  /** `changed()` is called when the list is another one. */
  constructor(changed) {
    Object.assign(this, { changed, conversations: [] });
    store.onChange(() => this.load());
  }

  /** Read what is kept. An object that is open stays the same object. */
  async load() {
    const known = new Map(this.conversations.map((one) => [one.id, one]));
    this.conversations = (await store.all()).map((one) =>
      known.get(one.id)?.updated >= one.updated ? known.get(one.id) : one,
    );
    this.changed();
  }

  /** Keep a conversation that has messages. */
  async keep(conversation) {
    if (!conversation.messages.length) return;
    this.conversations = [conversation, ...this.conversations.filter((one) => one.id !== conversation.id)];
    this.conversations.sort((one, other) => other.updated - one.updated);
    this.changed();
    try {
      await store.put(conversation);
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      notify("This browser has no room left: the conversation is not kept. Export and delete some.");
    }
  }

  /** Forget a conversation; the notice can bring it back. */
  async remove(conversation) {
    this.conversations = this.conversations.filter((one) => one.id !== conversation.id);
    this.changed();
    await store.remove(conversation.id);
    notify(`“${titleOf(conversation)}” was deleted.`, { label: "Undo", run: () => this.keep(conversation) });
  }

  /** Save conversations as a file. */
  async save(conversations, name) {
    const blob = new Blob([await exported(conversations)], { type: "application/json" });
    const link = element("a", { href: URL.createObjectURL(blob), download: `${name}-${stamp()}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  /** Add the conversations of a file; one that is here already is skipped, a changed one becomes a second one. */
  async read(file) {
    let found;
    try {
      found = await imported(file);
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      notify(`Nothing was imported. ${error.message}`);
      return;
    }
    let added = 0;
    for (const conversation of found) {
      const known = this.conversations.find((one) => one.id === conversation.id);
      if (known?.updated === conversation.updated) continue;
      if (known) conversation.id = newId();
      await this.keep(conversation);
      added += 1;
    }
    const skipped = found.length - added;
    const words = added === 1 ? "conversation was" : "conversations were";
    notify(`${added} ${words} imported${skipped ? `, ${skipped} were here already` : ""}.`);
  }
}
