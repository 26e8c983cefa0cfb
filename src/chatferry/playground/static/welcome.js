// What an empty talk proposes.
import { h } from "./dom.js";
import { store } from "./store.js";
import { t } from "./words.js";

/** Questions that the demonstration knows an answer to, or a greeting for anybody's bot; pressed, they are asked. */
export function samples(phone, place, questions) {
  const keys = questions.length && store.get("setup", "setup").mode === "simulate" ? ["hello"] : questions;
  place.hidden = !keys.length;
  place.replaceChildren();
  if (!keys.length) return;
  const ask = (text) =>
    phone.kit.send(phone, { text, file: null, mention: phone.composer.mention && phone.chat.shape !== "dm" });
  place.append(
    h("p", {}, t(phone.chat.shape === "dm" ? "try_this" : "try_this_group")),
    h(
      "div",
      { class: "samples" },
      keys
        .map((key) => t(`sample_${key}`, { who: phone.who }))
        .map((text) => h("button", { type: "button", onclick: () => ask(text) }, text)),
    ),
  );
}
