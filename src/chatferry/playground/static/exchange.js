// One exchange, opened: what was asked and what was answered, to the letter.
import { h, icon } from "./dom.js";
import { noted, PLATFORMS, span } from "./facts.js";
import { copier } from "./head.js";
import { coloured, pretty } from "./pretty.js";
import { store } from "./store.js";
import { t } from "./words.js";

/** The nodes that tell everything about it. */
export function detail(fact) {
  const url = /^https?:/.test(fact.path) ? fact.path : fact.path || "/";
  return [
    h("p", { class: "line" }, h("strong", {}, fact.method), " ", h("code", {}, url)),
    facts(fact),
    h("h3", {}, t("request")),
    headers(fact.headers),
    body(fact.request),
    h("h3", {}, t("answer")),
    fact.seconds === null ? h("p", { class: "soft" }, t("awaited")) : body(fact.answer, fact.status === 0),
    whole(fact),
  ];
}

function facts(fact) {
  const said = [
    [t("direction"), direction(fact)],
    fact.note && [t("note"), noted(fact)],
    fact.limit && [t("limit"), span(fact.limit)],
    fact.seconds !== null && fact.seconds !== undefined && [t("took"), span(fact.seconds)],
    fact.reason && [t("reason"), fact.reason],
  ];
  return h("dl", {}, said.filter(Boolean).map(([name, value]) => [h("dt", {}, name), h("dd", { class: name === t("reason") ? "why" : null }, value)]));
}

function headers(known) {
  const lines = Object.entries(known ?? {});
  if (!lines.length) return null;
  return h("dl", { class: "headers" }, lines.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function body(text, lost = false) {
  if (!text) return h("p", { class: "soft" }, lost ? t("never_came") : t("no_body"));
  const shown = pretty(text);
  return h("div", { class: "paper" }, copier(shown), h("pre", { tabindex: "0" }, coloured(shown)));
}

/** A way to the message that it is about, if that is on a screen. */
function whole(fact) {
  const bubble = fact.message && store.get("bubble", `${fact.platform}/${fact.chat}/${fact.message}`);
  if (!bubble) return null;
  const go = () => document.dispatchEvent(new CustomEvent("way", { detail: bubble }));
  return h("button", { type: "button", class: "plain", onclick: go }, icon("pin", 16), t("see_way"));
}

function direction(fact) {
  const name = PLATFORMS[fact.platform] ?? fact.platform;
  return fact.way === "hook" ? t("name_to_bot", { name }) : t("bot_to_name", { name });
}
