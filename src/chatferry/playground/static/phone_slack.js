// What makes a phone Slack: flat messages with names, threads that open over the channel, shortcuts, and a stop.
import { avatar, botName, buttons, media, pause, time } from "./bubbles.js";
import { ack } from "./clocks.js";
import { dialog } from "./dialog.js";
import { fill, h, icon } from "./dom.js";
import { menu } from "./menu.js";
import { markdown } from "./rich.js";
import { store } from "./store.js";
import { samples } from "./welcome.js";
import { t } from "./words.js";

const TOGETHER = 300; // seconds in which messages of one person share a name

export const slack = {
  platform: "slack",
  name: "Slack",
  clip: "plus",
  menuIcon: "more",
  accept: null,

  tab: (chat) =>
    chat.shape === "dm"
      ? [h("span", { class: "dot" }), chat.name]
      : [h("span", { class: "sharp", "aria-hidden": "true" }, "#"), chat.name],
  title: (phone, chat) => (phone.thread ? t("thread") : chat.shape === "dm" ? chat.name : `# ${chat.name}`),
  about: (phone, chat) =>
    phone.thread
      ? t("thread_in", { chat: chat.shape === "dm" ? chat.name : `# ${chat.name}` })
      : t(chat.shape === "dm" ? "app" : "channel"),

  hint(phone, chat, thread) {
    if (!chat) return null;
    if (thread) return t("slack_reply_as", { who: phone.who });
    return chat.shape === "dm"
      ? t("slack_write_as", { who: phone.who, chat: chat.name })
      : t("write_as", { who: phone.who });
  },

  async send(phone, { text, file, mention }) {
    const where = { who: phone.who, channel: phone.chat.chat };
    if (text.startsWith("/") && !file) {
      const [name, ...rest] = text.split(/\s/);
      phone.stuck = true;
      return (await phone.act("command", { ...where, name, text: rest.join(" ") })) !== null;
    }
    const files = file ? { files: { [file.name]: file.data } } : {};
    const thread = phone.thread ? { thread: phone.thread } : {};
    // The answer will be in the thread of what is said now.
    if (!thread.thread) phone.follow = { chat: phone.chatId, known: new Set(phone.bubbles.map((one) => one.id)) };
    return phone.expect(text, phone.act("say", { ...where, text, mention, typed: true, ...thread, ...files }));
  },

  edit(phone, bubble, text) {
    const old = bubble.text.startsWith(`@${botName()} `) && !text.startsWith("@") ? `@${botName()} ${text}` : text;
    return phone.act("edit", { who: phone.who, channel: phone.chat.chat, ts: bubble.message, text: old, typed: true });
  },

  actions(phone, bubble) {
    if (bubble.deleted || bubble.only || !bubble.id) return [];
    const where = { who: phone.who, channel: phone.chat.chat, ts: bubble.message };
    const { shortcuts = [] } = store.get("setup", "setup") ?? {};
    const own = phone.mine(bubble) && bubble.shape !== "action";
    return [
      ...(phone.thread
        ? []
        : [
            {
              icon: "talk",
              label: t("reply_in_thread"),
              run: () => phone.open(phone.chatId, bubble.thread || bubble.message),
            },
          ]),
      ...shortcuts.map(({ name, callback_id }) => ({
        icon: "bolt",
        label: name,
        run: () => phone.act("shortcut", { ...where, callback_id }),
      })),
      ...(own && bubble.shape === "text"
        ? [{ icon: "edit", label: t("edit_message"), run: () => phone.composer.edit(bubble) }]
        : []),
      ...(own ? [{ icon: "trash", label: t("delete_message"), bad: true, run: () => phone.act("delete", where) }] : []),
    ];
  },

  visible(phone, all) {
    const answered = new Set(all.filter((one) => one.thread && !one.deleted).map((one) => one.thread));
    const there = all.filter((one) => !one.deleted || (!one.thread && answered.has(one.message)));
    follow(phone, all);
    if (phone.thread) return there.filter((one) => one.message === phone.thread || one.thread === phone.thread);
    return there.filter((one) => !one.thread);
  },

  depends(phone, bubble, all) {
    if (bubble.thread || phone.thread) return [];
    const { count, last } = replies(bubble, all);
    return [count, last, status(phone, bubble.message)];
  },

  row(phone, bubble, before, all) {
    const day = before ? null : pause(bubble, null, t("today"));
    if (bubble.deleted)
      return h(
        "li",
        { class: "row" },
        day,
        h("p", { class: "gone" }, icon("trash", 16), t("message_deleted")),
        hanging(phone, bubble, all),
      );
    const together =
      before &&
      before.who === bubble.who &&
      bubble.at - before.at < TOGETHER &&
      !bubble.only &&
      !before.only &&
      !before.deleted &&
      !hangs(before, phone, all);
    const clock = phone.clock(bubble);
    const items = slack.actions(phone, bubble);
    const parts = [
      bubble.only ? h("p", { class: "only" }, icon("eye", 14), t("only_you")) : null,
      together ? null : head(bubble),
      tasks(bubble),
      h("div", { class: "words" }, words(bubble)),
      attached(bubble),
      bubble.buttons.length
        ? h(
            "div",
            { class: "actions" },
            buttons(bubble, (button) => click(phone, bubble, button)),
          )
        : null,
      hanging(phone, bubble, all),
    ];
    const more = (event) => menu(event.currentTarget, items);
    return h(
      "li",
      {
        class: `row flat ${together ? "together" : ""} ${bubble.only ? "whisper" : ""} ${bubble.growing ? "growing" : ""}`,
      },
      day,
      h(
        "div",
        { class: "said touch" },
        together ? h("span", { class: "gutter" }, time(bubble)) : avatar(bubble.who || botName(), !bubble.who),
        h("div", { class: "talk" }, parts),
        h(
          "span",
          { class: "corner" },
          clock ? ack(clock) : null,
          items.length
            ? h(
                "button",
                {
                  type: "button",
                  class: "dots-button",
                  "aria-label": t("message_actions"),
                  "aria-haspopup": "menu",
                  onclick: more,
                },
                icon("more", 18),
              )
            : null,
        ),
      ),
      phone.thread && bubble.message === phone.thread
        ? h("div", { class: "count" }, h("span", {}, t("replies", { n: replies(bubble, all).count })))
        : null,
    );
  },

  drawn(phone) {
    const told = phone.thread || phone.typing() ? status(phone, phone.thread) : "";
    const growing = phone.bubbles.filter((one) => one.growing && (!phone.thread || one.thread === phone.thread));
    const session = working(phone).find((one) => !phone.thread || one.thread === phone.thread);
    const thread = growing.at(-1)?.thread || session?.thread || phone.thread;
    const stop = () => phone.act("stop_session", { who: phone.who, channel: phone.chat.chat, thread });
    const key = JSON.stringify([told, thread, growing.length > 0, Boolean(session), phone.who, phone.chatId]);
    if (phone.told !== key) {
      phone.told = key;
      const words = growing.length && phone.thread ? t("is_writing", { name: botName() }) : told;
      fill(phone.status, words ? [h("span", { class: "spin", "aria-hidden": "true" }), h("span", {}, words)] : null);
      phone.extra.replaceChildren();
      if (thread && (growing.length || session)) {
        phone.extra.append(
          h("button", { type: "button", class: "stop", onclick: stop }, icon("stop", 16), t("slack_stop")),
        );
      }
    }
    dialog(phone);
  },

  welcome: (phone, place, empty) => samples(phone, place, empty ? ["table", "long", "name"] : []),
};

/** Opens the thread in which the answer to what was just said begins. */
function follow(phone, all) {
  if (phone.follow?.chat !== phone.chatId || phone.thread) return;
  const { known } = phone.follow;
  const root = all.findLast((one) => phone.mine(one) && !one.thread && !known.has(one.id));
  if (!root || !all.some((one) => one.thread === root.message && !one.who)) return;
  phone.follow = null;
  phone.thread = root.message;
  phone.stuck = true;
  queueMicrotask(() => phone.draw());
}

function replies(bubble, all) {
  const those = all.filter((one) => one.thread === bubble.message && !one.deleted);
  return { count: those.length, last: those.at(-1) };
}

function hangs(bubble, phone, all) {
  return !phone.thread && replies(bubble, all).count > 0;
}

/** Sessions in which the app is at work. */
function working(phone) {
  return store
    .all("session")
    .filter((one) => one.platform === "slack" && one.chat === phone.chat?.chat && one.status === "processing");
}

/** What is shown of an answer that is being made: the app's own words, or that it is at work. */
function status(phone, thread) {
  const typing = phone.typing(thread);
  if (typing) return `${botName()} ${typing.text}`;
  return working(phone).some((one) => one.thread === thread) ? t("is_thinking", { name: botName() }) : "";
}

/** What hangs on a message in the channel: how many replies, and whether one is on its way. */
function hanging(phone, bubble, all) {
  if (phone.thread || bubble.thread || !bubble.id) return null;
  const { count, last } = replies(bubble, all);
  const told = status(phone, bubble.message);
  if (!count && !told) return null;
  return h(
    "button",
    { type: "button", class: "hanging", onclick: () => phone.open(phone.chatId, bubble.message) },
    avatar(last?.who || botName(), !last?.who),
    count ? h("span", { class: "link" }, t(count === 1 ? "one_reply" : "n_replies", { n: count })) : null,
    h("span", { class: "quiet" }, last?.growing ? t("is_writing", { name: botName() }) : told),
    icon("chevron", 15),
  );
}

function head(bubble) {
  return h(
    "div",
    { class: "head" },
    h("strong", {}, bubble.who || botName()),
    bubble.who ? null : h("span", { class: "badge" }, t("app_badge")),
    time(bubble),
  );
}

/** What is called for an answer: each with how it stands. */
function tasks(bubble) {
  if (!bubble.tasks.length) return null;
  const marks = { complete: "check", error: "close" };
  const mark = (status) =>
    marks[status] ? icon(marks[status], 14) : h("span", { class: "spin", "aria-hidden": "true" });
  return h(
    "div",
    { class: "tasks" },
    bubble.tasks.map(([title, status]) => h("p", { class: status }, mark(status), h("span", {}, title))),
  );
}

function words(bubble) {
  const { people = [] } = store.get("setup", "setup") ?? {};
  if (!bubble.text) return [];
  if (bubble.shape === "action") return [h("code", { class: "command" }, bubble.text)];
  const made = markdown(bubble.text, [...people, botName()]);
  if (bubble.edits && bubble.who)
    (made.at(-1)?.tagName === "P" ? made.at(-1) : { append: (one) => made.push(one) }).append(
      h("span", { class: "edited" }, ` ${t("edited")}`),
    );
  if (bubble.growing) caret(made);
  return made;
}

/** A caret where the next word will be. */
function caret(made) {
  let last = made.at(-1);
  while (
    last?.lastElementChild &&
    ["UL", "OL", "LI", "BLOCKQUOTE", "PRE", "CODE"].includes(last.tagName) &&
    last.lastChild === last.lastElementChild
  )
    last = last.lastElementChild;
  const mark = h("span", { class: "caret", "aria-hidden": "true" });
  if (last) last.append(mark);
  else made.push(mark);
}

function attached(bubble) {
  const sent = bubble.file ? media(bubble) : null;
  return sent ? h("div", { class: "attached" }, sent) : null;
}

function click(phone, bubble, button) {
  const { value, label } = button;
  return phone.act("click", { who: phone.who, channel: phone.chat.chat, ts: bubble.message, value, label });
}
