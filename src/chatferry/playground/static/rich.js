// What messages look like: Markdown, plain text with links, and WeChat's text, as elements. Nothing becomes HTML.
import { h } from "./dom.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([\w+#.-]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])\s*(?:\1\s*){2,}$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const DELIMITER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const CJK = /[\u3040-\u30ff\u3400-\u9fff]/;
const DEEPEST = 8;

// In this order: what comes first wins at the same place.
const INLINE = new RegExp(
  [
    /\\([!-/:-@[-`{-~])/, // 1 escaped
    /(`+)(.+?)\2(?!`)/, // 2, 3 code
    /!?\[([^\]\n]*)\]\(\s*<?([^\s()<>]*(?:\([^\s()]*\)[^\s()<>]*)*)>?(?:\s+"[^"]*")?\s*\)/, // 4, 5 link
    /<(https?:\/\/[^\s<>]+)>/, // 6 address in brackets
    /(\*\*|__)(?=\S)(.+?[*_]?)(?<=\S)\7/, // 7, 8 bold
    /~~(?=\S)(.+?)(?<=\S)~~/, // 9 struck
    /(?<![\w*])\*(?=[^\s*])(.+?)(?<=[^\s*])\*(?!\*)/, // 10 italic
    /(?<![\w_])_(?=[^\s_])(.+?)(?<=[^\s_])_(?![\w_])/, // 11 italic
    /(https?:\/\/[^\s<>"'，。！？；：、）】」』]+)/, // 12 address
    /(?<![\w@])(@[\p{L}\p{N}_]+)/u, // 13 somebody
    /( {2,}\n|\\\n|\n)/, // 14 end of a line
  ]
    .map((part) => part.source)
    .join("|"),
  "su",
);
const ADDRESS = /https?:\/\/[^\s<>"'，。！？；：、）】」』]+/g;
const WECHAT_LINK = /<a\s[^>]*?href\s*=\s*["']([^"']*)["'][^>]*>([\s\S]*?)<\/a>/gi;

/** Markdown as elements. `people` are named with an @ in front. */
export function markdown(text, people = []) {
  return blocks(text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n"), { people, depth: 0 });
}

/** Plain text whose addresses are links. */
export function plain(text, people = []) {
  const made = [];
  let done = 0;
  for (const found of text.matchAll(ADDRESS)) {
    const [address, rest] = trimmed(found[0]);
    made.push(...named(text.slice(done, found.index), people), link(address, [address]), rest);
    done = found.index + found[0].length;
  }
  return [...made, ...named(text.slice(done), people)];
}

/** WeChat's text: plain, but for `<a href>`. What leads nowhere on the web asks `menu` with its address. */
export function wechat(text, menu) {
  const made = [];
  let done = 0;
  for (const found of text.matchAll(WECHAT_LINK)) {
    made.push(...plain(text.slice(done, found.index)));
    const [, address, label] = found;
    if (/^https?:/i.test(address)) made.push(link(address, [label]));
    else made.push(h("button", { type: "button", class: "as-link", onclick: () => menu(address, label) }, label));
    done = found.index + found[0].length;
  }
  return [...made, ...plain(text.slice(done))];
}

function named(text, people) {
  if (!people.length || !text.includes("@")) return [text];
  const names = people.map((name) => name.replace(/[^\p{L}\p{N}]/gu, "\\$&")).join("|");
  return text
    .split(new RegExp(`(@(?:${names})(?![\\w]))`, "u"))
    .map((part, at) => (at % 2 ? h("span", { class: "at" }, part) : part));
}

function link(address, label) {
  if (!/^https?:\/\//i.test(address)) return h("span", {}, ...label);
  return h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, ...label);
}

/** An address, and the signs after it that belong to the sentence. */
function trimmed(found) {
  let end = found.replace(/[.,;:!?*_~]+$/, "");
  while (end.endsWith(")") && end.split(")").length > end.split("(").length) end = end.slice(0, -1);
  return [end, found.slice(end.length)];
}

function blocks(lines, how) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const [element, next] = block(lines, at, how);
    if (element) made.push(element);
    at = next;
  }
  return made;
}

/** The block that begins at a line, and where the next one does. */
function block(lines, at, how) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return [h(`h${Math.min(heading[1].length + 2, 6)}`, {}, ...inline(heading[2], how)), at + 1];
  if (RULE.test(line)) return [h("hr"), at + 1];
  if (how.depth < DEEPEST) {
    if (QUOTE.test(line)) return quote(lines, at, how);
    if (ITEM.test(line)) return list(lines, at, how);
  }
  if (line.includes("|") && DELIMITER.test(lines[at + 1] ?? "") && lines[at + 1].includes("-")) {
    const columns = cells(line).length;
    if (columns === cells(lines[at + 1]).length) return table(lines, at, how);
  }
  let end = at + 1;
  while (end < lines.length && lines[end].trim() && !begins(lines[end])) end += 1;
  return [
    h(
      "p",
      {},
      ...inline(
        lines
          .slice(at, end)
          .map((one) => one.trimStart())
          .join("\n"),
        how,
      ),
    ),
    end,
  ];
}

function begins(line) {
  return (
    FENCE.test(line) || HEADING.test(line) || QUOTE.test(line) || RULE.test(line) || /^\s*([-*+]|1[.)])\s+\S/.test(line)
  );
}

function code(lines, at, [, fence, language]) {
  const closing = new RegExp(`^ {0,3}${fence[0]}{${fence.length},}\\s*$`);
  let end = at + 1;
  while (end < lines.length && !closing.test(lines[end])) end += 1;
  const text = lines.slice(at + 1, end).join("\n");
  const block = h("pre", { tabindex: "0", dataset: language ? { language } : {} }, h("code", {}, text));
  return [block, end + 1];
}

function quote(lines, at, how) {
  let end = at;
  while (end < lines.length && QUOTE.test(lines[end])) end += 1;
  const inner = lines.slice(at, end).map((line) => line.replace(QUOTE, ""));
  return [h("blockquote", {}, ...blocks(inner, deeper(how))), end];
}

function list(lines, at, how) {
  const [, margin, mark] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(mark);
  const items = [];
  while (at < lines.length) {
    const item = ITEM.exec(lines[at]);
    if (!item || item[1].length !== margin.length || /\d/.test(item[2]) !== ordered || RULE.test(lines[at])) break;
    const width = item[1].length + item[2].length + 1;
    const inner = [item[3]];
    at += 1;
    while (at < lines.length) {
      const blank = !lines[at].trim();
      const indent = lines[at].search(/\S/);
      if (blank) {
        // A blank line belongs to the item if what follows does.
        const next = lines.slice(at).findIndex((line) => line.trim());
        const follows = next > 0 && lines[at + next].search(/\S/) > margin.length;
        if (!follows) break;
      } else if (indent <= margin.length && (ITEM.test(lines[at]) || begins(lines[at]))) break;
      inner.push(lines[at].slice(Math.min(width, Math.max(indent, 0))));
      at += 1;
    }
    items.push(entry(inner, how));
    const next = lines.slice(at).findIndex((line) => line.trim());
    if (next > 0 && ITEM.exec(lines[at + next])?.[1].length === margin.length) at += next;
  }
  const start = ordered && mark !== "1." ? { start: parseInt(mark, 10) } : {};
  return [h(ordered ? "ol" : "ul", start, ...items), at];
}

function entry(lines, how) {
  const task = /^\[([ xX])\]\s+(.*)$/.exec(lines[0]);
  if (task) lines[0] = task[2];
  const inner = blocks(lines, deeper(how));
  // One line needs no paragraph around it.
  if (inner[0]?.tagName === "P") inner.splice(0, 1, ...inner[0].childNodes);
  return h(
    "li",
    { class: task ? "task" : null },
    task ? h("span", { class: "box" }, task[1] === " " ? "☐ " : "☑ ") : null,
    ...inner,
  );
}

function table(lines, at, how) {
  const sides = cells(lines[at + 1]).map((mark) => (/:$/.test(mark) ? (/^:/.test(mark) ? "center" : "right") : null));
  const row = (line, tag) =>
    h("tr", {}, ...sides.map((side, place) => h(tag, { class: side }, ...inline(cells(line)[place] ?? "", how))));
  let end = at + 2;
  while (end < lines.length && lines[end].includes("|") && lines[end].trim()) end += 1;
  const body = lines.slice(at + 2, end).map((line) => row(line, "td"));
  return [
    h(
      "div",
      { class: "table", tabindex: "0" },
      h("table", {}, h("thead", {}, row(lines[at], "th")), h("tbody", {}, ...body)),
    ),
    end,
  ];
}

function cells(line) {
  const inner = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  return inner.split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function deeper(how) {
  return { ...how, depth: how.depth + 1 };
}

function inline(text, how) {
  const made = [];
  while (text) {
    const found = INLINE.exec(text);
    if (!found) break;
    if (found.index) made.push(text.slice(0, found.index));
    text = text.slice(found.index + found[0].length);
    const [element, rest] = span(found, how);
    made.push(element);
    text = rest + text;
  }
  if (text) made.push(text);
  return made;
}

/** The element of a match, and what of it is still to be read. */
function span(found, how) {
  const [whole, escaped, , codeText, label, address, bracketed, , bold, struck, italic, italic2, bare, at] = found;
  const marked = (tag, text) => [how.depth < DEEPEST ? h(tag, {}, ...inline(text, deeper(how))) : h(tag, {}, text), ""];
  if (escaped !== undefined) return [escaped, ""];
  if (codeText !== undefined) return [h("code", {}, codeText.replace(/^ (.*) $/s, "$1")), ""];
  if (address !== undefined) {
    const words = how.depth < DEEPEST ? inline(label || address, deeper(how)) : [label];
    return [whole.startsWith("!") ? h("span", { class: "picture" }, link(address, words)) : link(address, words), ""];
  }
  if (bracketed !== undefined) return [link(bracketed, [bracketed]), ""];
  if (bold !== undefined) return marked("strong", bold);
  if (struck !== undefined) return marked("s", struck);
  const slanted = italic ?? italic2;
  if (slanted !== undefined) {
    const [element] = marked("em", slanted);
    if (CJK.test(slanted)) element.className = "upright"; // slanted, these letters look broken
    return [element, ""];
  }
  if (bare !== undefined) {
    const [end, rest] = trimmed(bare);
    // Without its end the address must not be found again.
    return rest ? [h("span", {}, link(end, [end]), rest), ""] : [link(end, [end]), ""];
  }
  if (at !== undefined) return [how.people.includes(at.slice(1)) ? h("span", { class: "at" }, at) : at, ""];
  return [h("br"), ""];
}
