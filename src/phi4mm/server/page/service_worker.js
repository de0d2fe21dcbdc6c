// Keeps the page's files, so that it opens and shows conversations while the server is down. Answers are never kept.

const CACHE = "phi4mm page";
const FILES = [
  "./",
  "announcement.js",
  "app.js",
  "archive.js",
  "attachment.js",
  "camera.js",
  "capture_bar.js",
  "chat.js",
  "client.js",
  "code_block.js",
  "code_dialog.js",
  "composer.js",
  "conversation.js",
  "device_help.js",
  "dialog.css",
  "element.js",
  "event_stream.js",
  "generation.js",
  "icon.svg",
 
  "inline.js",
  "layout.css",
  "library.js",
  "manifest.webmanifest",
  "markdown.js",
  "message.css",
  "message_view.js",
  "modal.js",
  "recorder.js",
  "recorder_worklet.js",
  "request.js",
  "server_state.js",
  "settings.js",
  "settings_dialog.js",
  "sidebar.js",
  "snippet.js",
  "store.js",
  "tabs.js",
  "theme.css",
  "thread.js",
  "tool_call.js",
  "transcription.js",
  "wave.js",
];

self.addEventListener("install", (event) => {
  event.waitUntil(
    caches.open(CACHE).then((cache) => cache.addAll(FILES.map((name) => new Request(name, { cache: "reload" })))),
  );
  self.skipWaiting();
});

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

self.addEventListener("fetch", (event) => {
  const { request } = event;
  const name = request.url.slice(self.registration.scope.length).split(/[?#]/)[0] || "./";
  if (request.method === "GET" && request.url.startsWith(self.registration.scope) && FILES.includes(name)) {
    event.respondWith(newest(request, name));
  }
});

/** The server's file where it answers, and keep it; else the kept one. */
async function newest(request, name) {
  const cache = await caches.open(CACHE);
  try {
    const response = await fetch(request);
    if (response.ok) await cache.put(name, response.clone());
    return response.ok ? response : ((await cache.match(name)) ?? response);
  } catch (error) {
    const kept = await cache.match(name);
    if (kept) return kept;
    throw error;
  }
}
