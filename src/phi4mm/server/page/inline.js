// Markdown within a line: code, bold, italic, struck, links. One pass; a closing mark that is missing is searched once.

const MAX_DEPTH = 8;
const MAX_LINK = 4096;
const MAX_PARENTHESES = 32; // within an address, as CommonMark has it
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const SAFE = new Set(["http:", "https:", "mailto:", "tel:"]);
const BARE = /^https?:\/\/[^\s<>"'`*_]+[^\s<>"'`]*/;
const EMPHASIS = [
  { mark: "***", tags: ["strong", "em"] },
  { mark: "**", tags: ["strong"] },
  { mark: "__", tags: ["strong"] },
  { mark: "~~", tags: ["del"] },
  { mark: "*", tags: ["em"] },
  { mark: "_", tags: ["em"] },
];

/** The address where its scheme is http, https, mailto or tel, else null: all that a link of an answer may open. */
export function safeAddress(text) {
  // Browsers drop these characters from a scheme, so "java\tscript:" would be one.
  const address = text.replace(/[\u0000-\u0020\u007f-\u00a0\u2028\u2029]/g, "");
  try {
    const url = new URL(address);
    return SAFE.has(url.protocol) ? url.href : null;
  } catch {
    return null; // not an address at all
  }
}

/** The nodes of one piece of Markdown text without blocks. */
export function spans(text, depth = 0) {
  const nodes = [];
  const missing = new Set(); // marks that do not come again in this text
  let plain = "";
  let at = 0;
  const flush = () => {
    if (plain) nodes.push(document.createTextNode(plain));
    plain = "";
  };
  while (at < text.length) {
    const found = depth < MAX_DEPTH ? span(text, at, depth, missing) : null;
    if (found) {
      flush();
      nodes.push(...found.nodes);
      at = found.end;
    } else if (text[at] === "\\" && PUNCTUATION.test(text[at + 1] ?? "")) {
      plain += text[at + 1];
      at += 2;
    } else {
      plain += text[at];
      at += 1;
    }
  }
  flush();
  return nodes;
}

function span(text, at, depth, missing) {
  switch (text[at]) {
    case "\n":
      return { nodes: [document.createElement("br")], end: at + 1 };
    case "`":
      return code(text, at, missing);
    case "*":
    case "_":
    case "~":
      return emphasis(text, at, depth, missing);
    case "!":
      return text[at + 1] === "[" ? link(text, at + 1, depth, missing) : null; // an image is never fetched: its link
    case "[":
      return link(text, at, depth, missing);
    case "<":
      return bracketed(text, at, missing);
    case "h":
      return bare(text, at);
    default:
      return null;
  }
}

function find(text, mark, from, missing) {
  if (missing.has(mark)) return -1;
  const end = text.indexOf(mark, from);
  if (end === -1) missing.add(mark);
  return end;
}

function code(text, at, missing) {
  let length = 1;
  while (text[at + length] === "`") length += 1;
  const mark = "`".repeat(length);
  const literal = { nodes: [document.createTextNode(mark)], end: at + length };
  let end = find(text, mark, at + length, missing);
  while (end !== -1 && text[end + length] === "`") {
    let next = end + length;
    while (text[next] === "`") next += 1;
    end = find(text, mark, next, missing);
  }
  if (end === -1) return literal;
  const node = document.createElement("code");
  node.textContent = text
    .slice(at + length, end)
    .replace(/\n/g, " ")
    .replace(/^ (.*[^ ].*) $/, "$1");
  return { nodes: [node], end: end + length };
}

function emphasis(text, at, depth, missing) {
  for (const { mark, tags } of EMPHASIS) {
    if (!text.startsWith(mark, at)) continue;
    const start = at + mark.length;
    if (!/\S/.test(text[start] ?? " ") || text[start] === mark[0]) return null;
    if (mark[0] === "_" && /[\p{L}\p{N}]/u.test(text[at - 1] ?? "")) return null;
    const end = closing(text, mark, start, missing);
    if (end === -1) continue;
    let node = null;
    for (const tag of [...tags].reverse()) {
      const outer = document.createElement(tag);
      outer.append(...(node ? [node] : spans(text.slice(start, end), depth + 1)));
      node = outer;
    }
    return { nodes: [node], end: end + mark.length };
  }
  return null;
}

function closing(text, mark, from, missing) {
  const key = `end of ${mark}`;
  if (missing.has(key)) return -1;
  for (let end = text.indexOf(mark, from); end !== -1; end = text.indexOf(mark, end)) {
    let run = 0;
    while (text[end + run] === mark[0]) run += 1;
    const word = mark[0] === "_" && /[\p{L}\p{N}]/u.test(text[end + run] ?? "");
    const fits = run === mark.length || (run > 2 && run >= mark.length);
    if (fits && /\S/.test(text[end - 1]) && !word) return end + run - mark.length;
    end += run;
  }
  missing.add(key);
  return -1;
}

function link(text, at, depth, missing) {
  const middle = find(text, "](", at + 1, missing);
  if (middle === -1 || middle - at > MAX_LINK) return null;
  const inner = text.slice(at + 1, middle);
  if (inner.includes("[") && inner.lastIndexOf("[") > inner.lastIndexOf("]")) return null;
  let parentheses = 1;
  let end = middle + 2;
  for (
    ;
    end < text.length && end - middle < MAX_LINK && text[end] !== "\n" && parentheses <= MAX_PARENTHESES;
    end += 1
  ) {
    if (text[end] === "(") parentheses += 1;
    if (text[end] === ")") parentheses -= 1;
    if (parentheses === 0) break;
  }
  if (parentheses !== 0 || text[end] !== ")") return null;
  const target = text
    .slice(middle + 2, end)
    .trim()
    .replace(/\s+(".*"|'.*')$/, "")
    .replace(/^<(.*)>$/, "$1");
  return { nodes: anchor(target, spans(inner || target, depth + 1)), end: end + 1 };
}

/** An anchor around the nodes; the nodes alone where the address is not a safe one. */
function anchor(target, inside) {
  const address = safeAddress(target);
  if (address === null) return inside;
  const node = document.createElement("a");
  node.href = address;
  node.target = "_blank";
  node.rel = "noopener noreferrer nofollow";
  for (const child of inside) {
    for (const nested of child.querySelectorAll?.("a") ?? []) nested.replaceWith(...nested.childNodes);
  }
  node.append(...inside.flatMap((child) => (child.nodeName === "A" ? [...child.childNodes] : [child])));
  return [node];
}

function bracketed(text, at, missing) {
  const end = find(text, ">", at, missing);
  if (end === -1 || end - at > MAX_LINK) return null;
  const target = text.slice(at + 1, end);
  if (!/^(https?:\/\/|mailto:)\S+$/i.test(target) || safeAddress(target) === null) return null;
  return { nodes: anchor(target, [document.createTextNode(target)]), end: end + 1 };
}

function bare(text, at) {
  if (!text.startsWith("http", at) || /[\p{L}\p{N}]/u.test(text[at - 1] ?? "")) return null;
  let address = BARE.exec(text.slice(at, at + MAX_LINK))?.[0].replace(/[.,;:!?]+$/, "");
  if (address?.endsWith(")") && !address.includes("(")) address = address.replace(/\)+$/, "");
  if (!address || safeAddress(address) === null) return null;
  return { nodes: anchor(address, [document.createTextNode(address)]), end: at + address.length };
}
