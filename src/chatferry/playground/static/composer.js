// Where a person writes: text, a file, a sticker; and what a message is about.
import { botName } from "./bubbles.js";
import { h, icon, tell } from "./dom.js";
import { t } from "./words.js";

const LARGEST = 5 * 1024 * 1024;

export class Composer {
  constructor(phone) {
    this.phone = phone;
    this.file = null;
    this.editing = null;
    this.mention = true;
    const { kit } = phone;
    this.tray = h("div", { class: "tray", hidden: true });
    this.text = h("textarea", {
      rows: "1",
      "aria-label": t("write_in", { app: kit.name }),
      placeholder: t("write"),
      enterkeyhint: "send",
      maxlength: "5000",
    });
    this.pick = h("input", {
      type: "file",
      hidden: true,
      accept: kit.accept,
      onchange: () => this.take(this.pick.files),
    });
    this.at = h("button", {
      type: "button",
      class: "mention",
      "aria-pressed": "true",
      onclick: () => this.turn(),
      hidden: true,
    });
    this.go = h("button", { type: "submit", class: "go", "aria-label": t("send") }, icon("send", 20));
    const clip = h(
      "button",
      {
        type: "button",
        class: "plain",
        "aria-label": t("attach"),
        title: t("attach"),
        onclick: () => this.pick.click(),
      },
      icon(kit.clip, 22),
    );
    this.element = h(
      "form",
      { class: "composer", onsubmit: (event) => this.send(event) },
      this.tray,
      h(
        "div",
        { class: "line" },
        kit.left?.(phone),
        clip,
        h("div", { class: "field" }, this.at, this.text),
        kit.right?.(phone),
        this.go,
      ),
      this.pick,
    );
    this.text.addEventListener("input", () => this.grow());
    this.text.addEventListener("keydown", (event) => this.key(event));
    this.text.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) {
        event.preventDefault();
        this.take(event.clipboardData.files);
      }
    });
    // The whole phone takes what is dropped.
    queueMicrotask(() => this.catchDrops(phone.element));
  }

  draw() {
    const { chat, kit, thread } = this.phone;
    const group = chat && chat.shape !== "dm" && !this.editing;
    this.at.hidden = !group;
    this.at.setAttribute("aria-pressed", this.mention);
    const name = `@${botName()}`;
    if (this.at.textContent !== name) this.at.textContent = name;
    this.at.title = t(this.mention ? "mention_off" : "mention_on", { name });
    this.text.placeholder = kit.hint?.(this.phone, chat, thread) ?? t("write");
    this.go.disabled = !this.text.value.trim() && !this.file;
  }

  /** Empty again, as where another talk is opened. */
  reset() {
    this.editing = null;
    this.file = null;
    this.drawTray();
  }

  fill(text) {
    this.text.value = text;
    this.grow();
    this.text.focus();
  }

  edit(bubble) {
    this.editing = bubble;
    this.drawTray();
    this.fill(bubble.text);
    this.draw();
  }

  turn() {
    this.mention = !this.mention;
    this.draw();
    this.text.focus();
  }

  grow() {
    this.text.style.setProperty("height", "auto");
    this.text.style.setProperty("height", `${Math.min(this.text.scrollHeight, 120)}px`);
    this.draw();
  }

  key(event) {
    if (event.isComposing || event.keyCode === 229) return; // Enter chooses a word there
    if (event.key === "Enter" && !event.shiftKey) this.send(event);
    else if (event.key === "Escape" && (this.editing || this.file)) this.cancel();
  }

  cancel() {
    const edited = this.editing;
    this.reset();
    if (edited) this.fill("");
  }

  async send(event) {
    event?.preventDefault();
    const text = this.text.value.trim();
    const { file, editing, phone } = this;
    if (!text && !file) return;
    this.text.value = "";
    this.reset();
    this.grow();
    if (editing) {
      phone.kit.edit(phone, editing, text);
      return;
    }
    // Who types the name calls it, too, and not twice.
    const name = `@${botName()} `;
    const named = text.startsWith(name);
    const mention = (this.mention || named) && phone.chat?.shape !== "dm";
    const words = mention && named ? text.slice(name.length).trim() : text;
    const taken = await phone.kit.send(phone, { text: words, file, mention });
    if (taken === false && !this.text.value) this.fill(text); // nobody has to write it again
  }

  async take(files) {
    const [file] = files;
    this.pick.value = "";
    if (!file) return;
    if (file.size > LARGEST) {
      tell(t("too_large"), "bad");
      return;
    }
    if (this.phone.kit.accept === "image/*" && !file.type.startsWith("image/")) {
      tell(t("only_pictures"), "bad");
      return;
    }
    this.file = {
      name: file.name || "image.png",
      type: file.type,
      data: await base64(file),
      url: URL.createObjectURL(file),
    };
    this.drawTray();
    this.draw();
    this.text.focus();
  }

  drawTray() {
    const { editing, file } = this;
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.preview = file?.url ?? null;
    this.tray.hidden = !editing && !file;
    this.tray.replaceChildren();
    if (this.tray.hidden) return;
    const picture = file?.type.startsWith("image/");
    this.tray.append(
      picture ? h("img", { src: file.url, alt: "" }) : icon(editing ? "edit" : "file", 20),
      h("span", { class: "what" }, editing ? t("editing") : file.name),
      h(
        "button",
        { type: "button", class: "plain", "aria-label": t("cancel"), onclick: () => this.cancel() },
        icon("close", 18),
      ),
    );
  }

  catchDrops(element) {
    let depth = 0;
    const over = (by) => {
      depth = Math.max(0, depth + by);
      element.classList.toggle("dropping", depth > 0);
    };
    element.addEventListener("dragenter", () => over(1));
    element.addEventListener("dragleave", () => over(-1));
    element.addEventListener("dragover", (event) => event.preventDefault());
    element.addEventListener("drop", (event) => {
      event.preventDefault();
      over(-depth);
      this.take(event.dataTransfer.files);
    });
  }
}

function base64(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}
