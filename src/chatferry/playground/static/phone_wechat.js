// What makes a phone WeChat: grey, square pictures, the time in the middle, and three calls of five seconds.
import { aside, avatar, botName, buttons, media, pause, time, via } from "./bubbles.js";
import { slots } from "./clocks.js";
import { h, icon } from "./dom.js";
import { wechat as rich } from "./rich.js";
import { store } from "./store.js";
import { samples } from "./welcome.js";
import { t } from "./words.js";

export const wechat = {
  platform: "wechat",
  name: "WeChat",
  clip: "plus",
  menuIcon: "more",
  accept: "image/*",

  tab: (chat) => chat.name,

  title: (phone, chat) => (phone.typing() ? t("wechat_typing") : chat.name),

  about(phone, chat) {
    const left = store.get("gauge", `wechat/messages_left/${chat.chat}`);
    return left?.limit
      ? t("messages_left", { left: Math.max(0, left.limit - left.used), limit: left.limit })
      : t("service_account");
  },

  left: (phone) =>
    h(
      "button",
      { type: "button", class: "plain", "aria-label": t("voice"), title: t("voice"), onclick: () => speak(phone) },
      icon("voice", 22),
    ),

  hint: (phone, chat) => t("write_as", { who: phone.who, chat: chat?.name ?? "" }),

  menu: (phone) => [
    { icon: "plus", label: t("subscribe"), run: () => phone.act("subscribe", { who: phone.who }) },
    { icon: "close", label: t("unsubscribe"), bad: true, run: () => phone.act("unsubscribe", { who: phone.who }) },
  ],

  async send(phone, { text, file }) {
    if (file) await phone.act("image", { who: phone.who, data: file.data });
    if (!text) return true;
    return phone.expect(text, phone.act("say", { who: phone.who, words: text }));
  },

  actions: () => [],

  row(phone, bubble, before) {
    const when = pause(bubble, before);
    if (bubble.deleted) return h("li", { class: "row" }, when, aside(t("recalled", { who: bubble.who || botName() })));
    const clock = phone.clock(bubble);
    if (bubble.shape === "action" || bubble.shape === "notice") {
      const words = bubble.shape === "action" ? told(bubble) : bubble.text;
      return h(
        "li",
        { class: "row" },
        when,
        h("div", { class: "touch said-so" }, aside(words)),
        clock ? slots(clock) : null,
      );
    }
    const own = phone.mine(bubble);
    const name = bubble.who || botName();
    return h(
      "li",
      { class: `row ${own ? "own" : "other"}` },
      when,
      h(
        "div",
        { class: "said" },
        avatar(name, !bubble.who),
        h("div", { class: "talk" }, body(phone, bubble), side(bubble, own, clock)),
      ),
    );
  },

  welcome(phone, place, empty) {
    samples(phone, place, empty ? ["name", "ask", "long"] : []);
    if (!empty) return;
    const follow = () => phone.act("subscribe", { who: phone.who });
    place.prepend(
      h(
        "div",
        { class: "profile" },
        avatar(botName(), true),
        h("strong", {}, botName()),
        h("button", { type: "button", class: "follow", onclick: follow }, icon("plus", 16), t("subscribe")),
      ),
    );
  },
};

function told(bubble) {
  const [event, key = ""] = bubble.text.split(" ");
  const known = { subscribe: "did_subscribe", unsubscribe: "did_unsubscribe", CLICK: "did_click", SCAN: "did_scan" }[
    event
  ];
  return known ? t(known, { who: bubble.who, key }) : `${bubble.who}: ${bubble.text}`;
}

/** A voice message: what is written is what WeChat understands of it. */
function speak(phone) {
  const recognition = phone.composer.text.value.trim();
  phone.composer.fill("");
  phone.stuck = true;
  phone.act("voice", { who: phone.who, recognition });
}

/** A link in a message that asks for something in the reader's name, as WeChat's message menus do. */
function ask(phone, address, label) {
  const said = /[?&]msgmenucontent=([^&]*)/.exec(address);
  const words = said ? decodeURIComponent(said[1]) : label;
  phone.expect(words, phone.act("say", { who: phone.who, words }));
}

function body(phone, bubble) {
  const sent = media(bubble);
  if (bubble.shape === "audio") return voice(bubble);
  const bare = sent && bubble.shape === "image";
  const press = (button) => ask(phone, "", button.value || button.label);
  const more = buttons(bubble, press);
  return h(
    "div",
    { class: `bubble touch ${bare ? "bare" : ""}` },
    h("div", { class: "words" }, sent ?? rich(bubble.text, (address, label) => ask(phone, address, label))),
    more.length ? h("div", { class: "choices" }, more) : null,
  );
}

function voice(bubble) {
  return h(
    "div",
    { class: "heard" },
    h("div", { class: "bubble touch voice" }, h("div", { class: "words" }, icon("voice", 20), h("span", {}, "2″"))),
    bubble.text ? h("p", { class: "recognised", title: t("recognised") }, bubble.text) : null,
  );
}

function side(bubble, own, clock) {
  return h(
    "span",
    { class: "side" },
    own && clock ? slots(clock) : null,
    own ? null : via(bubble),
    h("span", { class: "quiet" }, time(bubble)),
  );
}
