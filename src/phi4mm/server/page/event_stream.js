// Server-sent events of a response's body, whatever the pieces that the network cuts it into.

const MAX_EVENT = 4 * 2 ** 20; // characters

/** The `data` of each event. Throws RangeError for an event beyond 4 MiB: a server that never ends a line. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let data = [];
  let size = 0;
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) break;
      // A \r at the end waits: its \n may be the next piece.
      const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        size += line.length;
        if (line === "" && data.length) {
          yield data.join("\n");
          data = [];
        }
        if (line === "") size = 0;
        if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      }
      if (rest.length + size > MAX_EVENT) throw new RangeError("the server sent an event of more than 4 MiB");
    }
    if (rest.trim().startsWith("data:")) data.push(rest.trim().slice(5).trim());
    if (data.length) yield data.join("\n");
  } finally {
    await reader.cancel().catch(() => undefined); // the connection may be gone already
  }
}
