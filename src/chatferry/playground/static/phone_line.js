// What makes a phone LINE: bubbles with tails, "Read" and the time beside them, and a token that runs out.
import { aside, avatar, botName, buttons, dots, media, pause, time, via } from "./bubbles.js";
import { ring } from "./clocks.js";
import { h, icon } from "./dom.js";
import { plain } from "./rich.js";
import { store } from "./store.js";
import { samples } from "./welcome.js";
import { t } from "./words.js";

const KINDS = ["image", "audio", "video"];

export const line = {
  platform: "line",
  name: "LINE",
  clip: "plus",
  menuIcon: "menu",
  accept: null,

  tab: (chat) => (chat.shape === "dm" ? chat.name : `${chat.name} (${people().length + 1})`),
  title: (phone, chat) => (chat.shape === "dm" ? chat.name : `${chat.name} (${people().length + 1})`),

  about(phone) {
    const quota = store.get("gauge", "line/push_quota");
    return quota?.limit ? t("push_quota", { used: quota.used, limit: quota.limit }) : t("official_account");
  },

  hint: (phone, chat) => t("write_as", { who: phone.who, chat: chat?.name ?? "" }),

  right(phone) {
    const give = () => phone.act("sticker", { user: phone.who, ...group(phone) });
    return h(
      "button",
      { type: "button", class: "plain", "aria-label": t("sticker"), title: t("sticker"), onclick: give },
      icon("smile", 22),
    );
  },

  menu: (phone) => [
    { icon: "plus", label: t("follow"), run: () => phone.act("follow", { user: phone.who }) },
    { icon: "close", label: t("block"), bad: true, run: () => phone.act("unfollow", { user: phone.who }) },
    { icon: "refresh", label: t("unblock"), run: () => phone.act("follow", { user: phone.who, unblocked: true }) },
  ],

  async send(phone, { text, file, mention }) {
    if (file) {
      const kind = KINDS.find((one) => file.type.startsWith(one)) ?? "file";
      await phone.act(kind, { user: phone.who, data: file.data, name: file.name, ...group(phone) });
    }
    if (!text) return true;
    return phone.expect(
      text,
      phone.act("say", { user: phone.who, words: text, mention_self: mention, ...group(phone) }),
    );
  },

  actions(phone, bubble) {
    if (!phone.mine(bubble) || bubble.deleted || ["action", "notice"].includes(bubble.shape)) return [];
    const run = () => phone.act("unsend", { user: phone.who, message_id: bubble.message, ...group(phone) });
    return [{ icon: "trash", label: t("unsend"), bad: true, run }];
  },

  depends: (phone, bubble) => [phone.mine(bubble) && read(bubble)],

  row(phone, bubble, before) {
    const day = before ? null : pause(bubble, null, t("today"));
    if (bubble.deleted) return h("li", { class: "row" }, day, aside(t("unsent", { who: bubble.who || botName() })));
    if (bubble.shape === "action" || bubble.shape === "notice") {
      return h(
        "li",
        { class: "row" },
        day,
        h("div", { class: "touch said-so" }, aside(`${bubble.who} · ${bubble.text}`)),
      );
    }
    const own = phone.mine(bubble);
    const first = before?.who !== bubble.who || before?.shape === "action" || before?.deleted;
    const clock = phone.clock(bubble);
    return h(
      "li",
      { class: `row ${own ? "own" : "other"} ${first ? "first" : ""}` },
      day,
      h(
        "div",
        { class: "said" },
        own ? null : first ? avatar(bubble.who || botName(), !bubble.who) : h("span", { class: "avatar none" }),
        h(
          "div",
          { class: "talk" },
          !own && first ? h("span", { class: "from" }, bubble.who || botName()) : null,
          h("div", { class: "beside" }, body(phone, bubble), side(bubble, own, clock)),
        ),
      ),
    );
  },

  /** The quick replies of the last message, which float above the composer. */
  drawn(phone) {
    const last = phone.bubbles.filter((one) => one.shape !== "action" && !one.deleted).at(-1);
    const quick = last?.quick && !last.who ? last : null;
    if (phone.quick === quick) return;
    phone.quick = quick;
    phone.extra.replaceChildren(
      ...(quick
        ? [
            h(
              "div",
              { class: "quick" },
              buttons(quick, (button) => tap(phone, button)),
            ),
          ]
        : []),
    );
  },

  waiting(phone) {
    if (!phone.typing()) return null;
    const loading = h("div", { class: "bubble" }, dots());
    return h(
      "li",
      { class: "row other first loading" },
      h("div", { class: "said" }, avatar(botName(), true), h("div", { class: "talk" }, loading)),
    );
  },

  welcome: (phone, place, empty) => samples(phone, place, empty ? ["name", "ask", "long"] : []),
};

function people() {
  return store.get("setup", "setup")?.people ?? [];
}

function group({ chat }) {
  return chat && chat.shape !== "dm" ? { group: chat.chat } : {};
}

function tap(phone, button) {
  phone.stuck = true;
  phone.act("tap", { user: phone.who, data: button.value, label: button.label, ...group(phone) });
}

/** LINE says so once the bot has had the message. */
function read(bubble) {
  return store
    .all("exchange")
    .some(
      (one) =>
        one.platform === "line" &&
        one.way === "hook" &&
        one.message === bubble.message &&
        one.status >= 200 &&
        one.status < 300,
    );
}

function body(phone, bubble) {
  const sent = media(bubble);
  const bare = sent && ["image", "sticker"].includes(bubble.shape);
  const own = bubble.quick ? [] : buttons(bubble, (button) => tap(phone, button));
  const words = h("div", { class: "words" }, sent ?? plain(bubble.text, [...people(), botName()]));
  return h(
    "div",
    { class: `bubble touch ${bare ? "bare" : ""} ${own.length ? "template" : ""}` },
    words,
    own.length ? h("div", { class: "template-buttons" }, own) : null,
  );
}

function side(bubble, own, clock) {
  return h(
    "span",
    { class: "side" },
    own && clock ? ring(clock) : null,
    own && read(bubble) ? h("span", { class: "read" }, t("read")) : null,
    own ? null : via(bubble),
    time(bubble),
  );
}
