// A small menu that hangs on a button.
import { h, icon } from "./dom.js";

let open = null;

/** Shows `items` ({label, icon, run, bad}) beside `anchor`, inside its phone. */
export function menu(anchor, items) {
  const again = open?.anchor === anchor;
  close();
  if (again || !items.length) return;
  const list = h(
    "div",
    { class: "menu", role: "menu" },
    items.map((item) =>
      h(
        "button",
        {
          type: "button",
          role: "menuitem",
          class: item.bad ? "bad" : null,
          onclick: () => {
            close(true);
            item.run();
          },
        },
        icon(item.icon, 17),
        h("span", {}, item.label),
      ),
    ),
  );
  const phone = anchor.closest(".phone");
  phone.append(list);
  place(list, anchor.getBoundingClientRect(), phone.getBoundingClientRect());
  list.addEventListener("keydown", move);
  open = { anchor, list };
  anchor.setAttribute("aria-expanded", "true");
  list.firstChild.focus({ preventScroll: true });
  setTimeout(() => document.addEventListener("pointerdown", outside), 0);
}

function place(list, at, frame) {
  const below = at.bottom - frame.top + 4;
  const fits = below + list.offsetHeight < frame.height - 8;
  list.style.setProperty("top", `${fits ? below : Math.max(8, at.top - frame.top - list.offsetHeight - 4)}px`);
  const left = Math.min(at.left - frame.left, frame.width - list.offsetWidth - 22);
  list.style.setProperty("left", `${Math.max(10, left)}px`);
}

function move(event) {
  const items = [...open.list.children];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
  if (event.key === "Escape" || event.key === "Tab") close(true);
  else if (to === undefined) return;
  else items.at(to % items.length).focus();
  event.preventDefault();
  event.stopPropagation();
}

function outside(event) {
  if (open && !open.list.contains(event.target) && !open.anchor.contains(event.target)) close();
}

function close(back = false) {
  if (!open) return;
  document.removeEventListener("pointerdown", outside);
  open.list.remove();
  open.anchor.removeAttribute("aria-expanded");
  if (back) open.anchor.focus({ preventScroll: true });
  open = null;
}
