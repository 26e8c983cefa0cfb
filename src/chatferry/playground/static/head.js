// The header: what answers here, whether the gateway lives, and how the page looks.
import { fill, h, icon, s, tell } from "./dom.js";
import { now, PLATFORMS, span } from "./facts.js";
import { post, store } from "./store.js";
import { t } from "./words.js";

const DOWN = 2; // seconds that a killed gateway stays away
const FRESH = 5; // seconds in which a fault is news
const API = { line: "/line", wechat: "/wechat", slack: "/slack/api/" };
const STATES = {
  starting: t("gateway_starting"),
  up: t("gateway_up"),
  killed: t("gateway_killed"),
  restarting: t("gateway_restarting"),
  stopped: t("gateway_stopped"),
  failed: t("gateway_failed"),
};
const THEMES = { system: t("theme_system"), light: t("theme_light"), dark: t("theme_dark") };

/** Fills the header, and keeps it true. */
export function mountHead() {
  const language = document.getElementById("language");
  language.addEventListener("change", () => {
    location.search = `?lang=${language.value}`;
  });
  mountTheme(document.getElementById("theme"));
  const lost = document.getElementById("lost");
  store.on("state", () => {
    lost.hidden = store.state !== "lost";
  });
  store.on("setup", drawSetup);
  store.on("fault", ({ why, at }) => now() - at < FRESH && tell(t("refused", { why }), "bad"));
  store.on("gateway", mountGateway(document.getElementById("gateway")));
  document.addEventListener("click", ({ target }) => {
    for (const sheet of document.querySelectorAll(".addresses[open]")) if (!sheet.contains(target)) sheet.removeAttribute("open");
  });
}

function mountTheme(button) {
  const kept = document.documentElement.dataset.theme ?? "system";
  const show = (theme) => {
    button.dataset.theme = theme;
    button.title = t("theme", { theme: THEMES[theme] });
    button.setAttribute("aria-label", button.title);
    fill(button, theme === "system" ? half() : icon(theme === "dark" ? "moon" : "sun", 18));
  };
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const theme = names[(names.indexOf(button.dataset.theme) + 1) % names.length];
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // It lasts as long as the page, then.
    }
    show(theme);
  });
  show(kept);
}

/** A circle that is half dark. */
function half() {
  const ring = s("circle", { cx: 12, cy: 12, r: 8, fill: "none", stroke: "currentColor", "stroke-width": 1.8 });
  const dark = s("path", { d: "M12 4a8 8 0 0 1 0 16z", fill: "currentColor" });
  return s("svg", { class: "icon", viewBox: "0 0 24 24", width: 18, height: 18, "aria-hidden": "true" }, ring, dark);
}

function drawSetup(setup) {
  if (setup.dropped) return;
  document.body.dataset.mode = setup.mode;
  const place = document.getElementById("model");
  if (setup.mode === "simulate") {
    fill(place, addresses(setup));
    return;
  }
  const said = [h("span", { class: "label" }, t("answered_by")), h("strong", {}, setup.model)];
  if (setup.engine !== "script") {
    fill(place, h("div", { class: "model", title: setup.model }, said));
    return;
  }
  said[1].textContent = t("script");
  const hint = h("span", { class: "hint" }, t("script_hint"));
  const say = () => tell(t("script_hint"));
  fill(place, h("button", { type: "button", class: "model", title: t("script_hint"), onclick: say }, said, hint));
}

/** Where one's own bot finds the platforms, and where they find it. */
function addresses(setup) {
  const row = (label, address) =>
    h("div", {}, h("span", { class: "label" }, label), h("code", {}, address), copier(address));
  const rows = setup.platforms.map((platform) =>
    h(
      "section",
      { dataset: { platform } },
      h("h2", {}, PLATFORMS[platform]),
      setup.bots[platform] && row(t("webhook"), setup.bots[platform]),
      row(t("api_base"), location.origin + API[platform]),
    ),
  );
  const summary = h("summary", {}, icon("link", 16), t("addresses"));
  const all = h("details", { class: "addresses" }, summary, h("div", { class: "sheet" }, rows));
  all.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    all.removeAttribute("open");
    summary.focus();
  });
  return all;
}

/** A button that puts a text on the clipboard. */
export function copier(text) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(typeof text === "function" ? text() : text);
      tell(t("copied"));
    } catch {
      tell(t("not_copied"), "bad");
    }
  };
  return h("button", { type: "button", class: "copy", onclick: copy, "aria-label": t("copy"), title: t("copy") }, icon("copy", 15));
}

function mountGateway(place) {
  const word = h("span", {});
  const pill = h("span", { class: "pill state", role: "status" }, h("i", { "aria-hidden": "true" }), word);
  const kill = h(
    "button",
    { type: "button", class: "kill", title: t("kill_hint"), onclick: () => post("/gateway/kill", { down: DOWN }) },
    icon("skull", 18),
    h("span", { class: "long" }, t("kill")),
    h("span", { class: "brief", "aria-hidden": "true" }, t("kill_short")),
  );
  kill.setAttribute("aria-label", t("kill"));
  const start = h("button", { type: "button", class: "kill start", onclick: () => post("/gateway/start", {}) }, icon("refresh", 18), t("start_again"));
  const log = h("pre", { id: "log", tabindex: "0", hidden: true });
  document.getElementById("lost").after(log);
  return (fact) => {
    if (fact.dropped) return place.replaceChildren();
    place.replaceChildren(pill, fact.state === "failed" ? start : kill);
    const state = fact.state === "starting" && fact.starts > 1 ? "restarting" : fact.state;
    pill.dataset.state = state;
    word.textContent = STATES[state] ?? state;
    pill.title = state === "up" ? t("gateway_about", { pid: fact.pid, took: span(fact.took ?? 0), starts: fact.starts }) : "";
    kill.disabled = state !== "up";
    log.hidden = state !== "failed" || !fact.log;
    log.textContent = fact.log ?? "";
    return undefined;
  };
}
