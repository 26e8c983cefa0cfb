// Bodies as people read them: indented, one thing to a line, with a little colour. Always text, never markup.
import { h } from "./dom.js";

const JSON_PARTS = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)/g;
const XML_PARTS = /(<\/?[\w:-]+[^>]*>)/g;

/** A body, laid out by what it is. */
export function pretty(body) {
  const text = body.trim();
  if (/^[[{]/.test(text)) return json(text);
  if (text.startsWith("<")) return xml(text);
  if (/^(?:[\w.[\]-]+=[^\s&]*)(?:&[\w.[\]-]+=[^\s&]*)*$/.test(text)) return form(text);
  if (/^(?:data|event|: ?)/.test(text)) return text.replaceAll("\n\n", "\n");
  return body;
}

function json(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text; // it was cut
  }
}

function form(text) {
  const lines = [...new URLSearchParams(text)].map(([name, value]) => {
    const inner = /^[[{]/.test(value) ? json(value) : value;
    return `${name} = ${inner}`;
  });
  return lines.join("\n");
}

function xml(text) {
  let depth = 0;
  const pieces = text.replace(/>\s+</g, "><").match(/<!\[CDATA\[[\s\S]*?\]\]>|<[^>]+>|[^<]+/g) ?? [text];
  const lines = [];
  let open = ""; // an element that has only text so far stays on one line
  for (const piece of pieces) {
    if (/^<\//.test(piece)) {
      depth = Math.max(0, depth - 1);
      if (open) lines.push(open + piece);
      else lines.push("  ".repeat(depth) + piece);
      open = "";
    } else if (/^<[^!?]/.test(piece) && !piece.endsWith("/>")) {
      if (open) lines.push(open);
      open = "  ".repeat(depth) + piece;
      depth += 1;
    } else if (open) {
      open += piece;
    } else {
      lines.push("  ".repeat(depth) + piece);
    }
  }
  if (open) lines.push(open);
  return lines.join("\n");
}

/** The same text as nodes, with names, strings and numbers told apart. */
export function coloured(text) {
  const start = text.trimStart();
  if (/^[[{]/.test(start) || /^[\w.[\]-]+ = /.test(start) || /^data: ?\{/.test(start)) {
    return parts(text, JSON_PARTS, ([whole, string, colon, word]) => {
      if (colon) return [h("span", { class: "k" }, string), colon];
      return [h("span", { class: string ? "s" : word ? "w" : "n" }, whole)];
    });
  }
  if (start.startsWith("<")) return parts(text, XML_PARTS, ([whole]) => [h("span", { class: "k" }, whole)]);
  return [text];
}

function parts(text, pattern, draw) {
  const nodes = [];
  let at = 0;
  for (const found of text.matchAll(pattern)) {
    if (found.index > at) nodes.push(text.slice(at, found.index));
    nodes.push(...draw(found));
    at = found.index + found[0].length;
  }
  if (at < text.length) nodes.push(text.slice(at));
  return nodes;
}
