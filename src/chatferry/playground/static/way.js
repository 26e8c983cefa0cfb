// The whole way of one message: what happened to it, when, and what it took.
import { fill, h, icon, s } from "./dom.js";
import { chatName, clock, held, now, PLATFORMS, rest, span } from "./facts.js";
import { journey } from "./journey.js";
import { store } from "./store.js";
import { t } from "./words.js";

const LIVE = 200; // ms between two looks at what is still under way

let panel;
let chosen = null; // id of the bubble
let timer = 0;

/** Draws into the panel whatever message is asked for. */
export function mountWay(place) {
  panel = place;
  draw();
  document.addEventListener("way", (event) => {
    chosen = event.detail.id;
    draw();
    panel.scrollTop = 0;
  });
  document.addEventListener("looked", draw);
  let stirred = false;
  for (const kind of ["turn", "exchange", "clock", "bubble", "gauge"]) {
    store.on(kind, () => {
      stirred = true;
    });
  }
  store.after(() => {
    if (stirred && chosen) draw();
    stirred = false;
  });
}

function draw() {
  clearTimeout(timer);
  if (panel.firstChild && panel.offsetParent === null) return; // nobody looks
  const bubble = chosen && store.get("bubble", chosen);
  if (!bubble) {
    fill(panel, h("div", { class: "empty" }, boat(), h("p", {}, chosen ? t("way_gone") : t("way_empty"))));
    return;
  }
  const way = journey(bubble);
  const steps = () => [...panel.querySelectorAll("button.step")];
  const focused = steps().indexOf(document.activeElement);
  fill(panel, head(bubble, way), bar(way), clocks(way.from), line(way), numbers(way));
  if (focused >= 0) steps()[focused]?.focus({ preventScroll: true });
  const open = ["due", "doing"].includes(way.turn?.state) || way.exchanges.some((one) => one.seconds === null) || running(way.from);
  if (open) timer = setTimeout(draw, LIVE);
}

function head(bubble, { from, verdict, turn }) {
  const where = chatName(from.platform, from.chat);
  const who = from.who || t("the_bot");
  return h(
    "header",
    { class: "asked" },
    h("p", { class: "soft" }, h("span", { class: "mark", dataset: { platform: from.platform }, "aria-hidden": "true" }, PLATFORMS[from.platform][0]), [PLATFORMS[from.platform], where !== who && where, who, clock(from.at)].filter(Boolean).join(" · ")),
    h("blockquote", {}, brief(from)),
    h("p", { class: "verdict", dataset: { mood: verdict.mood } }, h("i", { "aria-hidden": "true" }), h("span", {}, verdict.text), turn && h("small", {}, t("turn_number", { number: turn.id }))),
    verdict.error && h("p", { class: "error" }, verdict.error),
  );
}

function brief(bubble) {
  const text = bubble.text || bubble.name || bubble.shape;
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
}

/** The phases side by side, as long as they took. */
function bar({ phases, turn }) {
  const total = phases.reduce((sum, phase) => sum + phase.seconds, 0);
  if (!turn || !phases.length) return null;
  const parts = phases.map((phase) => h("i", { class: phase.name, style: { "flex-grow": Math.max(phase.seconds / (total || 1), 0.004).toFixed(3) } }));
  const legend = phases.map((phase) => h("li", { class: phase.name }, h("i", { "aria-hidden": "true" }), phase.label, " ", h("b", {}, span(phase.seconds))));
  return h(
    "section",
    { class: "phases" },
    h("h3", {}, t("where_time_went"), h("b", {}, span(total))),
    h("div", { class: "stack", "aria-hidden": "true" }, parts),
    h("ul", {}, legend),
  );
}

function line({ steps, zero }) {
  if (!steps.length) return null;
  return h("ol", { class: "line" }, steps.map((step) => h("li", { class: step.kind, dataset: { mood: step.mood } }, moment(step, zero))));
}

function moment(step, zero) {
  const delta = step.at - zero;
  const sign = delta < -0.0005 ? "−" : "+";
  const open = step.exchange && (() => document.dispatchEvent(new CustomEvent("wire", { detail: step.exchange })));
  const title = step.code ? h("code", {}, step.title) : step.title;
  return [
    h("time", {}, Math.abs(delta) < 0.0005 ? "0" : `${sign}${span(Math.abs(delta))}`),
    h("i", { "aria-hidden": "true" }),
    h(
      "div",
      {},
      open ? h("button", { type: "button", class: "step", dataset: { exchange: step.exchange.id }, onclick: open, title: t("see_exchange") }, title, icon("chevron", 14)) : h("span", { class: "step" }, title),
      step.about && h("p", { class: "soft" }, step.about),
    ),
  ];
}

function numbers({ turn, exchanges }) {
  if (!turn) return exchanges.length ? h("p", { class: "soft aside" }, t("turn_unknown_about")) : null;
  const rows = [
    turn.model && [t("model"), turn.model],
    (turn.prompt_tokens || turn.completion_tokens) && [t("tokens_name"), t("tokens", { asked: turn.prompt_tokens ?? 0, answered: turn.completion_tokens ?? 0 })],
    turn.attempts > 0 && [t("attempts_name"), String(turn.attempts)],
    [t("exchanges_name"), String(exchanges.length)],
  ].filter(Boolean);
  return h("dl", { class: "numbers" }, rows.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// The platform's own clock.

function clockOf(bubble) {
  return store.get("clock", `${bubble.platform}/${bubble.chat}/${bubble.message}`);
}

function running(bubble) {
  const fact = clockOf(bubble);
  return Boolean(fact) && !fact.done && fact.until > now();
}

function clocks(from) {
  const fact = clockOf(from);
  if (!fact) return null;
  if (fact.name === "reply_token") return token(fact);
  const tries = fact.calls ?? fact.tries ?? [];
  const limit = fact.limit ?? fact.until - fact.began;
  const places = Math.max(fact.of ?? 0, tries.length);
  const title = fact.name === "calls" ? t("clock_calls") : t("clock_ack", { time: rest(limit) });
  const next = fact.next && fact.next > now() ? t("next_try", { time: rest(fact.next - now()) }) : "";
  return h(
    "section",
    { class: "clock" },
    h("h3", {}, title, next && h("b", {}, next)),
    h("ol", { class: "tries" }, Array.from({ length: places }, (_, at) => attempt(fact, at, limit))),
  );
}

const OUTCOMES = {
  held: t("try_held"),
  answered: t("try_answered"),
  timeout: t("try_timeout"),
  http_timeout: t("try_timeout"),
  refused: t("try_refused"),
  nothing: t("try_nothing"),
};

function attempt(fact, at, limit) {
  const one = (fact.calls ?? fact.tries)[at];
  const used = one ? one.seconds ?? Math.min(limit, now() - one.at) : 0;
  const outcome = held(fact, at) ? "held" : one?.outcome;
  const said = one ? [span(used), OUTCOMES[outcome] ?? outcome].filter(Boolean).join(" · ") : fact.done ? t("not_needed") : "–";
  return h("li", { dataset: { outcome: one ? outcome || "open" : "none" } }, h("span", {}, `${at + 1}`), meter(used, limit), h("small", {}, said));
}

function meter(used, limit) {
  const part = Math.min(1, Math.max(0, used / limit));
  return h("span", { class: "meter", "aria-hidden": "true" }, h("i", { style: { transform: `scaleX(${part.toFixed(3)})` } }));
}

function token(fact) {
  const life = fact.until - fact.began;
  const left = Math.max(0, fact.until - now());
  const said = { used: t("token_is_used"), expired: t("token_is_expired") }[fact.done] ?? (left ? t("token_left", { time: rest(left) }) : t("token_is_expired"));
  return h("section", { class: "clock", dataset: { outcome: fact.done || (left ? "open" : "expired") } }, h("h3", {}, t("clock_token"), h("b", {}, said)), fact.done ? null : meter(left, life));
}

/** Nothing chosen yet: a boat that waits. */
function boat() {
  const part = (d, more = {}) => s("path", { d, fill: "none", stroke: "currentColor", "stroke-width": 2, "stroke-linecap": "round", "stroke-linejoin": "round", ...more });
  return s(
    "svg",
    { viewBox: "0 0 96 64", width: 96, height: 64, "aria-hidden": "true", class: "boat" },
    part("M14 34h68l-9 16H23z"),
    part("M32 34V16a4 4 0 0 1 4-4h24a4 4 0 0 1 4 4v18"),
    part("M40 20h16M40 26h9"),
    part("M4 58q6-5 12 0t12 0 12 0 12 0 12 0 12 0 12 0 12 0", { class: "wave" }),
  );
}
