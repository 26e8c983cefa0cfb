// Elements without markup: what people write never becomes HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Functions are listeners, `style` and `dataset` are objects, everything else is an attribute. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.replace(/^on/, "").toLowerCase(), value);
    else if (name === "style") for (const [part, what] of Object.entries(value)) element.style.setProperty(part, what);
    else if (name === "dataset") Object.assign(element.dataset, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  put(element, children);
  return element;
}

function put(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) put(element, child);
    else if (child !== undefined && child !== null && child !== false && child !== "") element.append(child);
  }
}

/** The same children again, but those that are equal stay, and with them focus, marks and where they were scrolled. */
export function fill(element, ...children) {
  const fresh = [...h("div", {}, ...children).childNodes];
  fresh.forEach((node, place) => {
    const old = element.childNodes[place];
    if (!old) element.append(node);
    else if (!old.isEqualNode(node)) old.replaceWith(node);
  });
  while (element.childNodes.length > fresh.length) element.lastChild.remove();
}

/** An element of SVG. */
export function s(tag, props = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props)) if (value !== undefined) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

// Of a 24 by 24 square.
const LINES = {
  alarm: "M12 8v5l3 2M5 3 2 6M22 6l-3-3M12 5a8 8 0 1 0 0 16 8 8 0 0 0 0-16",
  back: "M15 5l-7 7 7 7",
  bolt: "M13 2 4 14h7l-1 8 9-12h-7z",
  check: "M5 12.5l4.5 4.5L19 7.5",
  chevron: "M6 9l6 6 6-6",
  close: "M6 6l12 12M18 6 6 18",
  cloud: "M7 18a4.5 4.5 0 0 1-.6-9A6 6 0 0 1 18 10.500a3.8 3.8 0 0 1 0 7.500z",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  edit: "M4 20l1-4L16.5 4.500l3 3L8 19zM14 7l3 3",
  eye: "M2 12s4-7 10-7 10 7 10 7-4 7-10 7S2 12 2 12zM12 9a3 3 0 1 0 0 6 3 3 0 0 0 0-6",
  ferry: "M3 14h18l-2.5 5.5h-13zM6 14V9h11l2 5M9 9V5h4v4M2 22c2 0 2-1 4-1s2 1 4 1 2-1 4-1 2 1 4 1 2-1 4-1",
  file: "M6 3h8l5 5v13H6zM14 3v5h5",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9h.01",
  link: "M10 14a4 4 0 0 0 6 0l3-3a4 4 0 0 0-6-6l-1 1M14 10a4 4 0 0 0-6 0l-3 3a4 4 0 0 0 6 6l1-1",
  menu: "M4 7h16M4 12h16M4 17h16",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  moon: "M20 14a8 8 0 1 1-10-10 7 7 0 0 0 10 10z",
  person: "M12 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM4 21c1-5 4-7 8-7s7 2 8 7",
  pin: "M12 21s7-6 7-11a7 7 0 0 0-14 0c0 5 7 11 7 11zM12 8a2 2 0 1 0 0 4 2 2 0 0 0 0-4",
  play: "M7 4l13 8-13 8z",
  plus: "M12 5v14M5 12h14",
  refresh: "M20 5v5h-5M4 19v-5h5M19 10a8 8 0 0 0-14-3M5 14a8 8 0 0 0 14 3",
  send: "M4 4l17 8-17 8 3-8zM7 12h14",
  skull: "M6 17v-3a7 7 0 1 1 12 0v3h-3v3H9v-3zM9.5 11h.01M14.5 11h.01",
  smile: "M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM8 14c1 2 2.5 3 4 3s3-1 4-3M9 9.500h.01M15 9.500h.01",
  stop: "M7 7h10v10H7z",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.5 1.500M17.5 17.5 19 19M19 5l-1.5 1.500M6.5 17.5 5 19",
  talk: "M4 5h16v11H9l-5 4zM8 9h8M8 12h5",
  trash: "M4 7h16M9 7V4h6v3M6 7l1 14h10l1-14M10 11v6M14 11v6",
  voice: "M8 9c1.5 1.5 1.5 4.5 0 6M12 6c3 3 3 9 0 12M16 3c5 5 5 13 0 18",
  wire: "M3 8h14l-4-4M21 16H7l4 4",
};

/** A drawing in the colour of its text. It says nothing to who cannot see it: name the button around it. */
export function icon(name, size = 20) {
  const lines = s("path", { d: LINES[name] ?? LINES.more, fill: "none", stroke: "currentColor" });
  for (const [part, value] of [
    ["width", "1.8"],
    ["linecap", "round"],
    ["linejoin", "round"],
  ]) {
    lines.setAttribute(`stroke-${part}`, value);
  }
  if (name === "more") lines.setAttribute("stroke-width", "2.6");
  return s("svg", { class: "icon", viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true" }, lines);
}

/** A word to the user that goes away again. `mood` is "" or "bad". */
export function tell(text, mood = "") {
  let place = document.querySelector(".toasts");
  if (!place) {
    place = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
    document.body.append(place);
  }
  if ([...place.children].some((one) => one.textContent === text)) return;
  const toast = h("div", { class: `toast ${mood}` }, text);
  place.append(toast);
  while (place.children.length > 3) place.firstChild.remove();
  setTimeout(() => toast.remove(), mood === "bad" ? 7000 : 4000);
}

/** The time of day of a unix second. */
export function hour(at) {
  return new Intl.DateTimeFormat(document.documentElement.lang || "en", {
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).format(new Date(at * 1000));
}
