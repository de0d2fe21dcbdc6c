// Conversations in this browser's IndexedDB, media as blobs. The server never sees them but as requests.

const NAME = "phi4mm";
const STORE = "conversations";
const changes = new BroadcastChannel("phi4mm conversations");

let opened = null;

function database() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "id" });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
  return opened;
}

/** Run one transaction; resolves with the result of the request that `action` makes, when it is on disk. */
async function transaction(mode, action) {
  const store = (await database()).transaction(STORE, mode).objectStore(STORE);
  return new Promise((resolve, reject) => {
    const request = action(store);
    store.transaction.oncomplete = () => resolve(request.result);
    store.transaction.onabort = () => reject(store.transaction.error);
  });
}

/** All conversations, the last changed first. */
export async function all() {
  const found = await transaction("readonly", (store) => store.getAll());
  return found.sort((one, other) => other.updated - one.updated);
}

/** Keep a conversation. Rejects with QuotaExceededError where the disk is full. */
export async function put(conversation) {
  await transaction("readwrite", (store) => store.put(conversation));
  changes.postMessage(conversation.id);
}

/** Forget a conversation. */
export async function remove(id) {
  await transaction("readwrite", (store) => store.delete(id));
  changes.postMessage(id);
}

/** Call back when another tab of this page changes conversations. */
export function onChange(listener) {
  changes.onmessage = ({ data }) => listener(data);
}
