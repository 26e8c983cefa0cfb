// The weather: everything that can go wrong, to be switched on, and how much of each budget is left.
import { fill, h, icon } from "./dom.js";
import { chatName, now, PLATFORMS, rest } from "./facts.js";
import { calm, SKIES, told } from "./skies.js";
import { post, store } from "./store.js";
import { t } from "./words.js";

const ORDER = ["model", "line", "wechat", "slack"];
const GAUGES = { push_quota: t("gauge_push"), messages_left: t("gauge_left") };

const parts = new Map(); // "platform/name" -> how to show a value
const gauges = new Map(); // platform -> the place of its gauges
let places;
let sky;

/** Draws the switches into their panel, as the facts have them. */
export function mountWeather(panel) {
  sky = h("div", { class: "sky" });
  places = h("div", { class: "places" });
  panel.append(sky, places);
  store.on("weather", (fact) => {
    if (!fact.dropped && !panel.querySelector(`section[data-platform="${fact.platform}"]`)) build();
    show();
  });
  store.on("gauge", () => show());
  store.on("account", () => show());
  store.on("chat", () => show());
  setInterval(() => panel.hidden || drawGauges(), 1000);
  show();
}

function build() {
  parts.clear();
  const known = ORDER.filter((platform) => store.get("weather", platform));
  fill(places);
  for (const platform of known) {
    const fact = store.get("weather", platform);
    const place = h("div", { class: "gauges" });
    gauges.set(platform, place);
    const controls = SKIES[platform].filter((one) => one.act || one.name in fact).map((one) => control(platform, one));
    const mark = h("span", { class: "mark", dataset: { platform }, "aria-hidden": "true" }, PLATFORMS[platform][0]);
    places.append(h("section", { dataset: { platform } }, h("h3", {}, mark, PLATFORMS[platform]), controls, place));
  }
}

function control(platform, one) {
  const id = `sky-${platform}-${one.name}`;
  if (one.type === "choice") return choice(platform, one, id);
  if (one.type === "range") return range(platform, one, id);
  const input = h("input", { type: "checkbox", role: "switch", id, "aria-describedby": `${id}-about` });
  input.addEventListener("change", async () => {
    await set(platform, one, input.checked);
    show();
  });
  parts.set(`${platform}/${one.name}`, (value) => {
    input.checked = value === true || (one.on !== undefined && value === one.on);
  });
  return h("div", { class: "switch" }, input, h("label", { for: id }, one.label), h("p", { id: `${id}-about` }, one.about));
}

function choice(platform, one, id) {
  const about = h("p", { "aria-live": "polite" });
  const radios = one.options.map(([value, label], at) => {
    const input = h("input", { type: "radio", name: id, id: `${id}-${at}`, value });
    input.addEventListener("change", async () => {
      await set(platform, one, value);
      show();
    });
    return [input, h("label", { for: input.id }, label)];
  });
  parts.set(`${platform}/${one.name}`, (value) => {
    const at = one.options.findIndex((option) => option[0] === value);
    if (at >= 0) radios[at][0].checked = true;
    if (about.textContent !== (one.options[at]?.[2] ?? "")) about.textContent = one.options[at]?.[2] ?? "";
  });
  return h("fieldset", {}, h("legend", {}, one.label), h("div", { class: "segments" }, radios), about);
}

function range(platform, one, id) {
  const output = h("output", { for: id });
  const input = h("input", { type: "range", id, min: 0, max: one.max, step: one.step, "aria-describedby": `${id}-about` });
  const say = () => {
    output.textContent = told(one.unit, Number(input.value));
    input.setAttribute("aria-valuetext", output.textContent);
    input.style.setProperty("--part", `${(Number(input.value) / one.max) * 100}%`);
  };
  input.addEventListener("input", say);
  input.addEventListener("change", async () => {
    await set(platform, one, Number(input.value));
    show();
  });
  parts.set(`${platform}/${one.name}`, (value) => {
    if (!input.matches(":active")) input.value = value;
    say();
  });
  return h("div", { class: "range" }, h("label", { for: id }, one.label), output, input, h("p", { id: `${id}-about` }, one.about));
}

async function set(platform, one, value) {
  if (one.act === "quota") {
    const limit = store.get("gauge", "line/push_quota")?.limit ?? 0;
    return post("/line/_sim/quota", { used: value ? limit : 0 });
  }
  if (one.act === "verified") return post("/wechat/_sim/verified", { on: value });
  const wanted = one.on === undefined ? value : value ? one.on : one.off;
  return post(`/${platform}/_sim/weather`, { [one.name]: wanted });
}

function valueOf(platform, one) {
  if (one.act === "verified") return store.get("account", "wechat")?.verified;
  if (one.act === "quota") {
    const gauge = store.get("gauge", "line/push_quota");
    return Boolean(gauge) && gauge.limit !== null && gauge.used >= gauge.limit;
  }
  return store.get("weather", platform)?.[one.name];
}

/** What is bad now: [platform, control]. Whether an account may send is no weather, and stays as it is. */
function storms() {
  const found = [];
  for (const platform of ORDER.filter((name) => store.get("weather", name))) {
    for (const one of SKIES[platform]) {
      const value = valueOf(platform, one);
      if (one.act !== "verified" && value !== undefined && value !== calm(one)) found.push([platform, one]);
    }
  }
  return found;
}

async function clear() {
  await Promise.all(storms().map(([platform, one]) => set(platform, one, one.on === undefined ? calm(one) : false)));
  show();
}

function show() {
  for (const [key, draw] of parts) {
    const [platform, name] = key.split("/");
    draw(valueOf(platform, SKIES[platform].find((one) => one.name === name)));
  }
  const bad = storms();
  for (const tab of document.querySelectorAll('[data-view="weather"]:not(body)')) {
    tab.toggleAttribute("data-storm", bad.length > 0);
    tab.setAttribute("aria-description", bad.length ? t("sky_bad", { number: bad.length }) : "");
  }
  const named = [...new Set(bad.map(([platform]) => PLATFORMS[platform]))].join(", ");
  fill(
    sky,
    icon(bad.length ? "bolt" : "sun", 26),
    h("p", { role: "status" }, h("strong", {}, bad.length ? t("sky_bad", { number: bad.length }) : t("sky_clear")), h("span", {}, bad.length ? named : t("sky_clear_about"))),
  );
  if (bad.length) sky.append(h("button", { type: "button", onclick: clear }, t("sky_clear_up")));
  sky.dataset.storm = bad.length > 0;
  drawGauges();
}

// Budgets.

function drawGauges() {
  for (const [platform, place] of gauges) {
    const those = store.all("gauge").filter((gauge) => gauge.platform === platform);
    those.sort((a, b) => a.name.localeCompare(b.name));
    fill(place, those.map(gauge));
  }
}

function gauge(fact) {
  const whose = fact.chat ? chatName(fact.platform, fact.chat) : "";
  const over = fact.until !== null && fact.until !== undefined && fact.until <= now();
  const used = over ? 0 : fact.used;
  const limited = fact.limit !== null && fact.limit !== undefined;
  const part = limited ? Math.min(1, used / (fact.limit || 1)) : 0;
  const count = limited ? t("used_of", { used, limit: fact.limit }) : t("used", { used });
  const later = used && !over && fact.until ? t("anew_in", { time: rest(fact.until - now()) }) : "";
  return h(
    "div",
    { class: "gauge", dataset: { full: part >= 1 } },
    h("span", {}, GAUGES[fact.name] ?? h("code", {}, fact.name), whose && h("small", {}, whose)),
    h("b", {}, count),
    h("span", { class: "meter", role: "img", "aria-label": count }, h("i", { style: { transform: `scaleX(${part.toFixed(3)})` } })),
    later && h("small", { class: "soft" }, later),
  );
}
