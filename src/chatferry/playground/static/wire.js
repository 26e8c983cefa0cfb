// Everything that goes over the wire, as it goes: one row for each request, which opens.
import { fill, h, icon } from "./dom.js";
import { chatName, clock, exchangesOf, mood, noted, now, PLATFORMS, short, span } from "./facts.js";
import { detail } from "./exchange.js";
import { store } from "./store.js";
import { t } from "./words.js";

const NEAR = 60; // pixels from the end that count as the end

const rows = new Map(); // id -> the row
const held = new Map(); // id -> what came while we paused
const off = new Set(); // platforms that are not looked at
let paused = false;
let cleared = 0; // exchanges up to this number are gone from here
let selected = null;
let only = false; // only what belongs to the selected message
let fresh = 0; // rows that came while we were elsewhere
let follow = true;
let ticking = false;
let ui;

/** Draws the list into its panel. */
export function mountWire(panel) {
  const list = h("ol", { class: "exchanges", "aria-label": t("wire") });
  const scroll = h("div", { class: "scroll", tabindex: "0", onscroll: scrolled }, list);
  const empty = h("p", { class: "empty" }, t("wire_empty"));
  const more = h("button", { type: "button", class: "more", hidden: true, onclick: () => (paused ? togglePause() : toEnd()) });
  const filters = h("div", { class: "filters", role: "group", "aria-label": t("filter") });
  const pause = h("button", { type: "button", class: "round", onclick: togglePause });
  const clear = h("button", { type: "button", class: "round", title: t("clear"), "aria-label": t("clear"), onclick: forget }, icon("trash", 17));
  scroll.append(empty);
  panel.append(h("div", { class: "toolbar" }, filters, pause, clear), scroll, more);
  ui = { panel, list, scroll, empty, more, filters, pause };
  drawPause();
  store.on("exchange", take);
  store.on("setup", drawFilters);
  store.on("state", () => store.state === "live" && recount());
  store.on("chat", () => rows.forEach((row) => draw(row)));
  store.on("clock", ({ name, chat, message }) => {
    if (name !== "calls") return; // those tell which exchanges were held
    for (const row of rows.values()) if (row.fact.chat === chat && row.fact.message === message) draw(row);
  });
  store.after(settle);
  document.addEventListener("way", (event) => select(event.detail));
  document.addEventListener("wire", (event) => reveal(event.detail));
  document.addEventListener("looked", () => {
    if (follow) toEnd();
    tick();
  });
}

function take(fact) {
  if (fact.dropped) {
    held.delete(fact.id);
    rows.get(fact.id)?.item.remove();
    rows.delete(fact.id);
    return;
  }
  if (paused) held.set(fact.id, fact);
  else show(fact);
}

function show(fact) {
  if (fact.number <= cleared) return;
  let row = rows.get(fact.id);
  if (!row) {
    row = made(fact);
    rows.set(fact.id, row);
    ui.list.append(row.item);
    if (!row.item.hidden) fresh += 1;
  }
  row.fact = fact;
  draw(row);
  if (fact.seconds === null) tick();
}

function made(fact) {
  const head = h("button", { type: "button", class: "row", "aria-expanded": "false" });
  const bar = h("i", {});
  const item = h("li", { dataset: { platform: fact.platform } }, head, h("div", { class: "time", "aria-hidden": "true" }, bar));
  const row = { fact, item, head, bar, body: null };
  head.addEventListener("click", () => toggle(row));
  return row;
}

function draw(row) {
  const { fact, item, head, bar } = row;
  const how = mood(fact);
  const inward = fact.way === "hook";
  const way = inward ? t("to_bot") : t("from_bot");
  const why = how === "held" ? "" : fact.reason;
  const about = [clock(fact.at), chatName(fact.platform, fact.chat), noted(fact), why];
  item.dataset.mood = how;
  item.title = `${fact.method} ${fact.path}`;
  fill(
    head,
    h("span", { class: "mark", dataset: { platform: fact.platform }, role: "img", "aria-label": PLATFORMS[fact.platform] ?? fact.platform }, (PLATFORMS[fact.platform] ?? "?")[0]),
    h("span", { class: inward ? "arrow in" : "arrow", role: "img", "aria-label": way, title: way }, inward ? "→" : "←"),
    h("span", { class: "what" }, h("small", {}, fact.method), short(fact.path)),
    h("span", { class: `pill ${how}` }, how === "open" ? "…" : how === "held" ? t("try_held") : fact.status === 0 ? t("no_answer") : String(fact.status)),
    h("span", { class: "took" }, how === "open" ? span(Math.max(0, now() - fact.at)) : span(fact.seconds)),
    h("span", { class: "about" }, about.filter(Boolean).map((part) => h("span", { class: part === why ? "why" : null }, part))),
  );
  measure(row);
  bar.parentNode.classList.toggle("endless", how === "open" && !fact.limit);
  item.hidden = hidden(fact);
  if (row.body) fill(row.body, detail(fact));
}

/** The bar of time: how much of the limit is used. */
function measure({ fact, bar }) {
  const used = fact.seconds ?? now() - fact.at;
  const part = fact.limit ? used / fact.limit : 0;
  bar.style.setProperty("transform", `scaleX(${Math.min(1, Math.max(0, part)).toFixed(4)})`);
  bar.classList.toggle("late", part > 0.8 && mood(fact) !== "held");
}

function tick() {
  if (!ticking) requestAnimationFrame(run);
  ticking = true;
}

/** As long as an answer is awaited its time goes on. */
function run() {
  ticking = false;
  let open = false;
  for (const row of rows.values()) {
    if (row.fact.seconds !== null) continue;
    open = true;
    measure(row);
    const took = row.head.querySelector(".took");
    const text = span(Math.max(0, now() - row.fact.at));
    if (took.textContent !== text) took.textContent = text;
  }
  if (open && !ui.panel.hidden) tick();
}

function toggle(row, open = !row.body) {
  row.head.setAttribute("aria-expanded", open);
  row.body?.remove();
  row.body = open ? h("div", { class: "body" }, detail(row.fact)) : null;
  if (row.body) row.item.append(row.body);
}

// What is looked at.

function hidden(fact) {
  const row = rows.get(fact.id);
  return off.has(fact.platform) || (only && !row?.item.classList.contains("mine"));
}

function drawFilters(setup) {
  const names = [...(setup?.platforms ?? []), ...(setup?.mode === "demo" ? ["model"] : [])];
  ui.names = names.length ? names : ui.names ?? [];
  const chips = ui.names.map((name) =>
    chip(PLATFORMS[name], !off.has(name), name, () => (off.has(name) ? off.delete(name) : off.add(name))),
  );
  if (selected) chips.unshift(chip(t("this_message"), only, "", () => (only = !only)));
  ui.filters.replaceChildren(...chips);
}

function chip(label, on, platform, change) {
  const press = () => {
    change();
    const at = [...ui.filters.children].indexOf(button);
    drawFilters();
    ui.filters.children[at]?.focus();
    sift();
  };
  const button = h("button", { type: "button", class: "chip", dataset: { platform }, "aria-pressed": String(on), onclick: press }, label);
  return button;
}

function sift() {
  for (const row of rows.values()) row.item.hidden = hidden(row.fact);
  ui.empty.hidden = [...rows.values()].some((row) => !row.item.hidden);
  if (follow) toEnd();
}

function select(bubble) {
  selected = bubble;
  only = false;
  drawFilters();
  belong();
  sift();
}

/** Marks what belongs to the selected message. */
function belong() {
  if (!selected) return;
  const ours = new Set(exchangesOf(selected).map((fact) => fact.id));
  for (const [id, row] of rows) {
    row.item.classList.toggle("mine", ours.has(id));
    if (only) row.item.hidden = hidden(row.fact);
  }
}

/** Opens an exchange that somebody pointed at. */
function reveal(fact) {
  if (off.delete(fact.platform)) drawFilters();
  if (fact.number <= cleared) cleared = 0;
  if (!rows.has(fact.id)) for (const one of store.all("exchange")) show(one);
  sift();
  const row = rows.get(fact.id);
  if (!row) return;
  row.item.hidden = false;
  follow = false;
  toggle(row, true);
  row.item.scrollIntoView({ block: "start" });
  row.head.focus({ preventScroll: true });
}

function togglePause() {
  paused = !paused;
  drawPause();
  if (paused) return;
  for (const fact of held.values()) show(fact);
  held.clear();
  settle();
}

function drawPause() {
  ui.pause.title = paused ? t("go_on") : t("pause");
  ui.pause.setAttribute("aria-label", ui.pause.title);
  ui.pause.setAttribute("aria-pressed", paused);
  fill(ui.pause, paused ? icon("play", 17) : h("span", { class: "bars", "aria-hidden": "true" }));
}

function forget() {
  for (const fact of store.all("exchange")) cleared = Math.max(cleared, fact.number);
  for (const [id, row] of rows) if (row.fact.number <= cleared) rows.delete(id);
  ui.list.replaceChildren();
  held.clear();
  fresh = 0;
  settle();
}

/** Another server counts from one again. */
function recount() {
  const all = store.all("exchange");
  if (all.some((fact) => fact.number > cleared)) return;
  cleared = 0;
  if (!rows.size) all.forEach(show);
}

// Where we are in the list.

function settle() {
  belong();
  ui.empty.hidden = [...rows.values()].some((row) => !row.item.hidden);
  if (follow && !ui.panel.hidden) toEnd();
  const waiting = paused ? held.size : follow ? 0 : fresh;
  ui.more.hidden = waiting === 0;
  ui.more.textContent = paused ? t("held_back", { number: waiting }) : t("newer", { number: waiting });
}

function scrolled() {
  follow = ui.scroll.scrollHeight - ui.scroll.scrollTop - ui.scroll.clientHeight < NEAR;
  if (follow) {
    fresh = 0;
    if (!paused) ui.more.hidden = true;
  }
}

function toEnd() {
  follow = true;
  fresh = 0;
  ui.scroll.scrollTop = ui.scroll.scrollHeight;
  if (!paused) ui.more.hidden = true;
}
