// One phone: whose it is, which talk is open, and the messages of that talk. What makes it LINE, WeChat or Slack is its
// `kit`: how a message looks, what can be done with it, and what the composer offers.
import { avatar, botName } from "./bubbles.js";
import { Composer } from "./composer.js";
import { h, icon } from "./dom.js";
import { menu } from "./menu.js";
import { post, store } from "./store.js";
import { touch } from "./touch.js";
import { t } from "./words.js";

const NEAR = 80; // pixels from the end that still count as being there
const LOST = 10000; // ms until what was sent, and never showed up, is let go

export class Phone {
  constructor(kit) {
    this.kit = kit;
    this.platform = kit.platform;
    this.who = "";
    this.chatId = "";
    this.thread = "";
    this.pending = [];
    this.rows = new Map(); // message -> {row, facts}
    this.chosen = "";
    this.shown = "";
    this.stuck = true; // at the end, and to stay there
    this.build();
  }

  // What is looked at.

  get setup() {
    return store.get("setup", "setup");
  }

  get chats() {
    return store
      .all("chat")
      .filter((chat) => chat.platform === this.platform && (chat.shape !== "dm" || chat.who === this.who));
  }

  get chat() {
    return store.get("chat", this.chatId);
  }

  get bubbles() {
    const chat = this.chat?.chat;
    return store
      .all("bubble")
      .filter((one) => one.platform === this.platform && one.chat === chat && (!one.only || one.only === this.who))
      .sort((one, other) => one.at - other.at);
  }

  /** Whether the person whose phone this is wrote it. */
  mine(bubble) {
    return bubble.who === this.who;
  }

  clock(bubble) {
    return store.get("clock", bubble.id);
  }

  typing(thread = "") {
    const now = Date.now() / 1000;
    const found = store.get("typing", [this.platform, this.chat?.chat, ...(thread ? [thread] : [])].join("/"));
    const other = thread ? null : store.get("typing", `${this.platform}/${this.chat?.chat}/`);
    return [found, other].find((one) => one && !(one.until <= now)) ?? null;
  }

  /** Has somebody do something. */
  act(name, given) {
    return post(`/${this.platform}/_sim/${name}?wait=no`, given);
  }

  // What is changed by whom looks at it.

  open(chatId, thread = "") {
    this.chatId = chatId;
    this.thread = thread;
    this.stuck = true;
    this.composer.reset();
    this.draw();
  }

  be(who) {
    const dm = !this.chat || this.chat.shape === "dm";
    this.who = who;
    const own = this.chats.find((chat) => chat.shape === "dm") ?? this.chats[0];
    this.open(dm && own ? own.id : this.chatId);
  }

  /** Shows what was just sent until the platform shows it itself. `sent` tells whether it was taken. */
  async expect(text, sent) {
    const one = {
      text,
      chat: this.chatId,
      thread: this.thread,
      known: new Set(this.bubbles.map((bubble) => bubble.id)),
    };
    this.pending.push(one);
    this.stuck = true;
    this.draw();
    setTimeout(() => this.forget(one), LOST);
    if ((await sent) === null) {
      this.forget(one);
      return false;
    }
    return true;
  }

  forget(one) {
    this.pending = this.pending.filter((other) => other !== one);
    this.draw();
  }

  // Drawing.

  build() {
    const { kit } = this;
    this.title = h("h2", { class: "title" });
    this.about = h("p", { class: "about" });
    this.tabs = h("div", { class: "chats", role: "group", "aria-label": t("chats") });
    this.people = h("div", { class: "people", role: "group", "aria-label": t("whose_phone") });
    this.back = h(
      "button",
      { type: "button", class: "back plain", "aria-label": t("back"), onclick: () => this.open(this.chatId) },
      icon("back", 22),
    );
    this.more = h(
      "button",
      {
        type: "button",
        class: "plain",
        "aria-label": t("more"),
        "aria-haspopup": "menu",
        onclick: () => menu(this.more, kit.menu(this)),
      },
      icon(kit.menuIcon, 22),
    );
    this.list = h("ol", { class: "rows", role: "log", "aria-label": t("messages_of", { app: kit.name }) });
    this.empty = h("div", { class: "empty" });
    this.log = h("div", { class: "log" }, this.empty, this.list);
    this.end = h(
      "button",
      { type: "button", class: "to-end", hidden: true, "aria-label": t("to_end"), onclick: () => this.scroll() },
      icon("chevron", 20),
    );
    this.status = h("div", { class: "status", role: "status" });
    this.extra = h("div", { class: "extra" });
    this.composer = new Composer(this);
    this.element = h(
      "article",
      { class: `phone ${this.platform}`, id: `phone-${this.platform}`, "aria-label": kit.name },
      h(
        "header",
        { class: "bar" },
        h(
          "div",
          { class: "top" },
          this.back,
          h("div", { class: "names" }, this.title, this.about),
          this.people,
          kit.menu ? this.more : null,
        ),
        this.tabs,
      ),
      h("div", { class: "screen" }, this.log, this.end),
      this.status,
      this.extra,
      this.composer.element,
    );
    this.keepEnd();
    touch(this);
    this.tabs.addEventListener(
      "click",
      ({ target }) => target.closest("[data-chat]") && this.open(target.closest("[data-chat]").dataset.chat),
    );
    this.people.addEventListener(
      "click",
      ({ target }) => target.closest("[data-who]") && this.be(target.closest("[data-who]").dataset.who),
    );
  }

  draw() {
    if (!this.setup) return;
    this.who ||= this.setup.people[0];
    if (!this.chat) this.chatId = this.chats[0]?.id ?? "";
    this.element.classList.toggle("offline", store.state === "lost");
    this.drawBar();
    this.drawRows();
    this.kit.drawn?.(this);
    this.composer.draw();
    if (this.stuck) this.scroll();
    this.end.hidden = this.near();
  }

  drawBar() {
    const { chat, chats, kit } = this;
    const names = JSON.stringify([chats.map((one) => [one.id, one.name, one.shape]), this.setup.people, botName()]);
    if (names !== this.shown) {
      this.shown = names;
      this.tabs.replaceChildren(
        ...chats.map((one) => h("button", { type: "button", class: "chat", dataset: { chat: one.id } }, kit.tab(one))),
      );
      this.people.replaceChildren(
        ...this.setup.people.map((who) =>
          h(
            "button",
            {
              type: "button",
              class: "person",
              title: t("be", { who }),
              "aria-label": t("be", { who }),
              dataset: { who },
            },
            avatar(who),
          ),
        ),
      );
    }
    for (const tab of this.tabs.children) tab.setAttribute("aria-pressed", tab.dataset.chat === this.chatId);
    for (const person of this.people.children) person.setAttribute("aria-pressed", person.dataset.who === this.who);
    const title = chat ? kit.title(this, chat) : kit.name;
    if (this.title.textContent !== title) this.title.textContent = title;
    const about = (chat && kit.about?.(this, chat)) ?? "";
    if (this.about.textContent !== about) this.about.textContent = this.about.title = about;
    this.back.hidden = !this.thread;
  }

  drawRows() {
    const all = this.chat ? this.bubbles : [];
    const shown = this.kit.visible ? this.kit.visible(this, all) : all;
    const kept = new Set(shown.map((bubble) => bubble.id));
    for (const [id, { row }] of this.rows) {
      if (kept.has(id)) continue;
      row.remove();
      this.rows.delete(id);
    }
    const rows = shown.map((bubble, at) => this.row(bubble, shown[at - 1], all));
    let place = this.list.firstChild;
    for (const row of rows) {
      row.classList.toggle("chosen", row.dataset.id === this.chosen);
      if (row === place) place = place.nextSibling;
      else this.list.insertBefore(row, place);
    }
    while (place) {
      const next = place.nextSibling;
      place.remove();
      place = next;
    }
    this.drawPending(all);
    const touched = [...this.list.querySelectorAll(".touch")];
    if (!touched.some((one) => one.tabIndex === 0)) touched.at(-1)?.setAttribute("tabindex", "0");
    const bare = !shown.length && !this.pending.length && this.chat && !this.thread;
    if (bare !== this.bare) this.kit.welcome(this, this.empty, bare);
    this.bare = bare;
  }

  /** The row of a message: the same one as long as nothing about it changed. */
  row(bubble, before, all) {
    const facts = [
      bubble,
      this.clock(bubble),
      before?.id,
      before?.deleted,
      this.who,
      this.thread,
      ...(this.kit.depends?.(this, bubble, all) ?? []),
    ];
    const known = this.rows.get(bubble.id);
    if (known && facts.length === known.facts.length && facts.every((fact, place) => fact === known.facts[place]))
      return known.row;
    const row = this.kit.row(this, bubble, before, all);
    row.dataset.id = bubble.id;
    if (bubble.growing) row.setAttribute("aria-busy", "true");
    const touch = row.querySelector(".touch");
    touch?.setAttribute("tabindex", known ? String(known.row.querySelector(".touch")?.tabIndex ?? -1) : "-1");
    if (known) {
      const active = known.row.contains(document.activeElement);
      known.row.replaceWith(row);
      if (active) touch?.focus({ preventScroll: true });
    } else if (Date.now() / 1000 - bubble.at < 3) row.classList.add("fresh");
    this.rows.set(bubble.id, { row, facts });
    return row;
  }

  drawPending(all) {
    const come = (one) =>
      all.some(
        (bubble) => !one.known.has(bubble.id) && this.mine(bubble) && (!one.text || bubble.text.endsWith(one.text)),
      );
    this.pending = this.pending.filter((one) => one.chat !== this.chatId || !come(one));
    for (const one of this.pending) {
      if (one.chat !== this.chatId || one.thread !== this.thread) continue;
      const bubble = {
        id: "",
        platform: this.platform,
        who: this.who,
        text: one.text,
        shape: "text",
        at: Date.now() / 1000,
        buttons: [],
        tasks: [],
      };
      const row = this.kit.row(this, bubble, null, all);
      row.classList.add("pending");
      this.list.append(row);
    }
    const dots = this.kit.waiting?.(this);
    if (dots) this.list.append(dots);
  }

  // Where it is scrolled to.

  scroll() {
    this.stuck = true;
    this.log.scrollTop = this.log.scrollHeight;
  }

  near() {
    return this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < NEAR;
  }

  /** What grows without a word of ours, such as a picture that was loaded, leaves the end where it is. */
  keepEnd() {
    new ResizeObserver(() => this.stuck && this.scroll()).observe(this.log);
    this.log.addEventListener("load", () => this.stuck && this.scroll(), true);
    this.log.addEventListener(
      "scroll",
      () => {
        this.stuck = this.near();
        this.end.hidden = this.stuck;
      },
      { passive: true },
    );
  }
}
