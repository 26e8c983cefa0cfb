// The page around the phones: which part of it is looked at, and who draws what.
import { icon } from "./dom.js";
import { mountHead } from "./head.js";
import { mountPhones } from "./phones.js";
import { connect } from "./store.js";
import { mountWay } from "./way.js";
import { mountWeather } from "./weather.js";
import { mountWire } from "./wire.js";

const ICONS = { phones: "talk", wire: "wire", way: "pin", weather: "cloud" };
const PANELS = ["wire", "way", "weather"];
const wide = matchMedia("(min-width: 1100px)");
const tabs = [...document.querySelectorAll("#side [role=tab]")];
const bar = [...document.querySelectorAll("#bar button")];
let panel = "wire";

/** Shows a part of the page. On a wide page the phones are there in any case. */
function look(view) {
  if (PANELS.includes(view)) panel = view;
  document.body.dataset.view = view;
  for (const tab of tabs) {
    const chosen = tab.dataset.view === panel;
    tab.setAttribute("aria-selected", chosen);
    tab.tabIndex = chosen ? 0 : -1;
    document.getElementById(tab.dataset.view).hidden = !chosen;
  }
  for (const button of bar) {
    if (button.dataset.view === view) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  }
  document.dispatchEvent(new CustomEvent("looked", { detail: view }));
}

function step(event) {
  const at = tabs.indexOf(event.target);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  const next = tabs[(to + tabs.length) % tabs.length];
  look(next.dataset.view);
  next.focus();
}

for (const button of [...tabs, ...bar]) {
  button.prepend(icon(ICONS[button.dataset.view], 18));
  button.addEventListener("click", () => look(button.dataset.view));
}
document.querySelector("#side [role=tablist]").addEventListener("keydown", step);
document.addEventListener("way", () => look("way"));
document.addEventListener("wire", () => look("wire"));
wide.addEventListener("change", () => look(wide.matches ? panel : document.body.dataset.view));

mountHead();
mountWire(document.getElementById("wire"));
mountWay(document.getElementById("way"));
mountWeather(document.getElementById("weather"));
mountPhones(document.getElementById("phones"));
look("phones");
connect();
