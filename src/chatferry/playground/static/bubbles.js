// What the messages of all three phones have in common.
import { h, hour, icon } from "./dom.js";
import { store } from "./store.js";
import { t } from "./words.js";

const APART = 300; // seconds between two messages that get a time of their own

/** The picture of somebody: the first letter, or the ferry. */
export function avatar(name, bot = false) {
  if (bot) return h("span", { class: "avatar ferry", "aria-hidden": "true" }, icon("ferry", 22));
  return h("span", { class: `avatar tone-${tone(name)}`, "aria-hidden": "true" }, [...name][0] ?? "");
}

function tone(name) {
  const { people = [] } = store.get("setup", "setup") ?? {};
  return Math.max(0, people.indexOf(name)) % 4;
}

export function botName() {
  return store.get("setup", "setup")?.bot ?? "Ferry";
}

/** What somebody sent, as far as a browser shows it; null for words. */
export function media(bubble) {
  const address = bubble.file && `/${bubble.platform}/_sim/file/${encodeURIComponent(bubble.file)}`;
  const name = bubble.name || t(`shape_${bubble.shape}`);
  const card = (drawing) => h("span", { class: "card" }, icon(drawing, 22), h("span", {}, bubble.text || name));
  switch (bubble.shape) {
    case "image":
      return address ? h("img", { class: "picture", src: address, alt: name, loading: "lazy" }) : card("image");
    case "audio":
      return card("voice");
    case "video":
      return card("play");
    case "location":
      return card("pin");
    case "link":
      return null;
    case "file":
      return address
        ? h("a", { class: "card", href: address, download: name }, icon("file", 22), h("span", {}, name))
        : card("file");
    case "sticker":
      return h("span", { class: "sticker", role: "img", "aria-label": t("shape_sticker") }, icon("smile", 72));
  }
  return null;
}

/** How a message came, where the platform has several ways. */
export function via(bubble) {
  return bubble.via
    ? h("span", { class: `via ${bubble.via}`, title: t(`tag_${bubble.via}_why`) }, t(`tag_${bubble.via}`))
    : null;
}

export function time(bubble) {
  const { at } = bubble;
  return h("time", { datetime: new Date(at * 1000).toISOString() }, hour(at));
}

/** A line between messages where a while has passed, or at the top. */
export function pause(bubble, before, words = hour(bubble.at)) {
  if (before && bubble.at - before.at < APART) return null;
  return h("div", { class: "pause" }, h("span", {}, words));
}

/** The platform's own words, or what somebody did, in the middle. */
export function aside(words) {
  return h("div", { class: "aside" }, h("span", {}, words));
}

/** Three dots that move. */
export function dots() {
  return h("span", { class: "dots", role: "img", "aria-label": t("typing") }, h("i"), h("i"), h("i"));
}

/** What can be pressed on a message. `press` is told the button. */
export function buttons(bubble, press) {
  return bubble.buttons.map((button) =>
    button.url
      ? h(
          "a",
          {
            class: "button",
            href: /^https?:/i.test(button.url) ? button.url : null,
            target: "_blank",
            rel: "noopener noreferrer",
          },
          button.label,
        )
      : h("button", { type: "button", class: `button ${button.style}`, onclick: () => press(button) }, button.label),
  );
}
