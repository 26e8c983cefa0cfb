// What is done to a message: pressed, its way is shown; held, its menu opens; from the keyboard both.
import { menu } from "./menu.js";
import { store } from "./store.js";

export function touch(phone) {
  phone.list.addEventListener("click", (event) => pressed(event));
  phone.list.addEventListener("contextmenu", (event) => held(phone, event));
  phone.list.addEventListener("keydown", (event) => keyed(phone, event));
}

function fact(target) {
  const row = target.closest("[data-id]");
  return row ? store.get("bubble", row.dataset.id) : null;
}

function choose(target) {
  const chosen = fact(target);
  if (chosen) document.dispatchEvent(new CustomEvent("way", { detail: chosen }));
}

function pressed({ target }) {
  if (!target.closest(".touch") || target.closest("a, button, input, textarea, summary")) return;
  if (getSelection().isCollapsed) choose(target); // else somebody marks words
}

function held(phone, event) {
  const bubble = fact(event.target);
  const on = event.target.closest(".touch");
  const items = bubble && on ? phone.kit.actions(phone, bubble) : [];
  if (!items.length || !getSelection().isCollapsed || event.target.closest("a")) return;
  event.preventDefault();
  menu(on, items);
}

function keyed(phone, event) {
  const on = event.target;
  const bubble = on.classList.contains("touch") ? fact(on) : null;
  if (!bubble) return;
  const all = [...phone.list.querySelectorAll(".touch")];
  const at = all.indexOf(on);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (event.key === "Enter") choose(on);
  else if (event.key === " " || event.key === "ContextMenu") menu(on, phone.kit.actions(phone, bubble));
  else if (to !== undefined && all[to]) {
    on.tabIndex = -1;
    all[to].tabIndex = 0;
    all[to].focus();
  } else return;
  event.preventDefault();
}
