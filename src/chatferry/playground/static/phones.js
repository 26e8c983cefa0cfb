// The phones, side by side where there is room, else one at a time.
import { h } from "./dom.js";
import { Phone } from "./phone.js";
import { line } from "./phone_line.js";
import { slack } from "./phone_slack.js";
import { wechat } from "./phone_wechat.js";
import { store } from "./store.js";
import { t } from "./words.js";

const KITS = { line, wechat, slack };
const WATCHED = ["setup", "chat", "bubble", "clock", "typing", "dialog", "session", "gauge", "state", "exchange"];
const SLOW = 1000; // ms between two looks at what ends without anybody saying so

export function mountPhones(root) {
  const phones = new Map();
  const tabs = h("div", { class: "phone-tabs", role: "group", "aria-label": t("which_app") });
  const row = h("div", { class: "phone-row" });
  let dirty = new Set();
  let current = "";
  root.append(tabs, row);

  function settle() {
    const { platforms = [] } = store.get("setup", "setup") ?? {};
    const wanted = Object.keys(KITS).filter((name) => platforms.includes(name));
    for (const [name, phone] of phones) {
      if (wanted.includes(name)) continue;
      phone.element.remove();
      phones.delete(name);
    }
    for (const name of wanted) {
      if (phones.has(name)) continue; // moved, it would lose where one is in it
      phones.set(name, new Phone(KITS[name]));
      row.append(phones.get(name).element);
    }
    root.dataset.count = String(wanted.length);
    tabs.hidden = wanted.length < 2;
    tabs.replaceChildren(
      ...wanted.map((name) =>
        h(
          "button",
          { type: "button", class: name, dataset: { app: name }, onclick: () => look(name) },
          h("i", { "aria-hidden": "true" }),
          t(`platform_${name}`),
        ),
      ),
    );
    look(wanted.includes(current) ? current : wanted[0]);
  }

  function look(name) {
    current = name;
    for (const tab of tabs.children) {
      tab.setAttribute("aria-pressed", tab.dataset.app === name);
      if (tab.dataset.app === name) tab.classList.remove("news");
    }
    for (const [other, { element }] of phones) element.classList.toggle("current", other === name);
    phones.get(name)?.draw();
    phones.get(name)?.scroll();
  }

  function choose(fact) {
    const chosen = fact?.kind === "bubble" ? fact.id : "";
    for (const phone of phones.values()) {
      if (phone.chosen === chosen) continue;
      phone.chosen = chosen;
      phone.draw();
    }
  }

  store.on("setup", settle);
  store.on("bubble", (fact, old) => {
    const new_ = !fact.dropped && !old && !fact.who;
    if (new_ && fact.platform !== current && Date.now() / 1000 - fact.at < 5)
      tabs.querySelector(`[data-app="${fact.platform}"]`)?.classList.add("news");
  });
  for (const kind of WATCHED) {
    store.on(kind, (fact) => {
      const name = fact.platform ?? fact.id.split("/")[0];
      if (kind === "exchange" && !phones.has(name)) return; // the model's
      for (const one of phones.has(name) ? [name] : phones.keys()) dirty.add(one);
    });
  }
  store.after(() => {
    const those = dirty;
    dirty = new Set();
    for (const name of those) phones.get(name)?.draw();
  });
  setInterval(() => {
    if (store.all("typing").length && !document.hidden) for (const phone of phones.values()) phone.draw();
  }, SLOW);
  document.addEventListener("way", ({ detail }) => choose(detail));
}
