// Markdown blocks: text -> blocks -> DOM nodes. Lines are read once; what is unknown is a paragraph.

import { codeBlock } from "./code_block.js";
import { element } from "./element.js";
import { spans } from "./inline.js";

const MAX_DEPTH = 6; // of lists and quotations
const MAX_COLUMNS = 64;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})(?:\s+(.*?))?(?:\s+#+)?\s*$/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)(?:([-*+])|(\d{1,9})[.)])(?: +|$)/;
const DELIMITER = /^ {0,3}\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** Read text into blocks: {kind, source, ...}. `source` is the block's own lines: an equal one is not redrawn. */
export function blocks(text, depth = 0) {
  const lines = text.replace(/\r\n?/g, "\n").split("\n");
  const found = [];
  for (let at = 0; at < lines.length;) {
    if (!lines[at].trim()) {
      at += 1;
      continue;
    }
    const block =
      fence(lines, at) ??
      heading(lines, at) ??
      rule(lines, at) ??
      table(lines, at) ??
      (depth < MAX_DEPTH ? (quotation(lines, at) ?? list(lines, at)) : null) ??
      paragraph(lines, at, depth);
    block.source = lines.slice(at, block.end).join("\n");
    found.push(block);
    at = block.end;
  }
  return found;
}

/** Draw the text into the container; children of unchanged source stay: a stream redraws only its last block. */
export function render(container, text) {
  const next = blocks(text);
  const kept = container.drawn ?? [];
  let same = 0;
  while (same < kept.length && same < next.length && kept[same].source === next[same].source) same += 1;
  while (container.childNodes.length > same) container.lastChild.remove();
  container.append(...next.slice(same).map((block) => draw(block, 0)));
  container.drawn = next;
}

function fence(lines, at) {
  const opening = FENCE.exec(lines[at]);
  if (!opening) return null;
  const [, mark, info] = opening;
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(mark) && line.trim().replaceAll(mark[0], "") === "";
  while (end < lines.length && !closes(lines[end])) end += 1;
  const language = info.trim().split(/\s+/)[0].slice(0, 40);
  return { kind: "code", language, text: lines.slice(at + 1, end).join("\n"), end: Math.min(end + 1, lines.length) };
}

function heading(lines, at) {
  const found = HEADING.exec(lines[at]);
  return found && { kind: "heading", level: found[1].length, text: found[2] ?? "", end: at + 1 };
}

function rule(lines, at) {
  return RULE.test(lines[at]) ? { kind: "rule", end: at + 1 } : null;
}

function cells(line) {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inner
    .split(/(?<!\\)\|/)
    .slice(0, MAX_COLUMNS)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table(lines, at) {
  if (!lines[at].includes("|") || !DELIMITER.test(lines[at + 1] ?? "")) return null;
  const head = cells(lines[at]);
  const marks = cells(lines[at + 1]);
  if (head.length !== marks.length) return null;
  const alignment = marks.map((mark) => (mark.endsWith(":") ? (mark.startsWith(":") ? "center" : "end") : "start"));
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim()) end += 1;
  return { kind: "table", head, alignment, rows: lines.slice(at + 2, end).map(cells), end };
}

function quotation(lines, at) {
  if (!QUOTE.test(lines[at])) return null;
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  return {
    kind: "quotation",
    text: lines
      .slice(at, end)
      .map((line) => line.replace(QUOTE, ""))
      .join("\n"),
    end,
  };
}

function list(lines, at) {
  const first = ITEM.exec(lines[at]);
  if (!first || first[1].length > 3) return null;
  const ordered = first[3] !== undefined;
  const items = [];
  let end = at;
  while (end < lines.length) {
    const mark = ITEM.exec(lines[end]);
    const indent = /^ */.exec(lines[end])[0].length;
    if (mark && indent <= first[1].length && (mark[3] !== undefined) === ordered && !RULE.test(lines[end])) {
      items.push({ width: mark[0].length, lines: [lines[end].slice(mark[0].length)] });
    } else if (!items.length || (lines[end].trim() && indent < 2)) {
      break;
    } else if (!lines[end].trim() && !continues(lines, end + 1, first[1].length, ordered)) {
      break;
    } else {
      const item = items.at(-1);
      item.lines.push(lines[end].slice(Math.min(indent, item.width)));
    }
    end += 1;
  }
  const start = ordered ? Number(first[3]) : 1;
  return { kind: "list", ordered, start, items: items.map((item) => item.lines.join("\n")), end };
}

/** Whether a list goes on after an empty line: with an indented line, or another item of its kind. */
function continues(lines, at, indent, ordered) {
  const next = lines[at] ?? "";
  const mark = ITEM.exec(next);
  return /^ {2,}\S/.test(next) || (mark !== null && mark[1].length <= indent && (mark[3] !== undefined) === ordered);
}

function paragraph(lines, at, depth) {
  let end = at + 1;
  const begins = (n) =>
    FENCE.test(lines[n]) ||
    HEADING.test(lines[n]) ||
    RULE.test(lines[n]) ||
    table(lines, n) ||
    (depth < MAX_DEPTH && (QUOTE.test(lines[n]) || ITEM.test(lines[n])));
  while (end < lines.length && lines[end].trim() && !begins(end)) end += 1;
  return {
    kind: "paragraph",
    text: lines
      .slice(at, end)
      .map((line) => line.trim())
      .join("\n"),
    end,
  };
}

function draw(block, depth) {
  switch (block.kind) {
    case "code":
      return codeBlock(block.text, block.language);
    case "heading": // the page's own headings are of levels 1 and 2
      return element(`h${Math.min(block.level + 2, 6)}`, { dir: "auto" }, ...spans(block.text));
    case "rule":
      return element("hr");
    case "table":
      return drawTable(block);
    case "quotation":
      return element("blockquote", { dir: "auto" }, ...drawAll(block.text, depth));
    case "list":
      return drawList(block, depth);
    default:
      return element("p", { dir: "auto" }, ...spans(block.text));
  }
}

function drawAll(text, depth) {
  return blocks(text, depth + 1).map((inner) => draw(inner, depth + 1));
}

function drawList(block, depth) {
  const node = element(block.ordered ? "ol" : "ul", { dir: "auto" });
  if (block.ordered && block.start !== 1) node.setAttribute("start", block.start);
  for (const item of block.items) {
    const inner = blocks(item, depth + 1);
    const tight = inner.length && inner[0].kind === "paragraph" && !item.includes("\n\n");
    const nodes = tight
      ? [...spans(inner[0].text), ...inner.slice(1).map((one) => draw(one, depth + 1))]
      : inner.map((one) => draw(one, depth + 1));
    node.append(element("li", {}, ...nodes));
  }
  return node;
}

function drawTable({ head, alignment, rows }) {
  const cell = (tag, text, n) => {
    const scope = tag === "th" ? "col" : undefined;
    return element(tag, { class: `align-${alignment[n]}`, dir: "auto", scope }, ...spans(text ?? ""));
  };
  const body = rows.map((row) => element("tr", {}, ...head.map((_, n) => cell("td", row[n], n))));
  const heading = element("thead", {}, element("tr", {}, ...head.map((text, n) => cell("th", text, n))));
  const whole = element("table", {}, heading, element("tbody", {}, ...body));
  return element("div", { class: "table", tabIndex: 0, role: "region", aria: { label: "Table" } }, whole);
}
