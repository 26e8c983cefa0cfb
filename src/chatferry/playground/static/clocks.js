// Time that runs out, drawn beside messages: LINE's reply token, WeChat's three calls, Slack's three seconds.
import { h, icon, s } from "./dom.js";
import { held } from "./facts.js";
import { t } from "./words.js";

const PACE = 200; // ms between two looks at what runs; the style sheet moves evenly from one to the next

let ticking = null;

/** LINE: a ring that empties while the answer is free. */
export function ring(clock) {
  if (clock.done === "used") return mark("used", "check", t("clock_used"));
  if (clock.done || clock.until * 1000 <= Date.now()) return mark("late", "alarm", t("clock_expired"));
  const circle = (name) => s("circle", { class: name, cx: 9, cy: 9, r: 7, fill: "none", pathLength: 1 });
  const drawn = h(
    "span",
    { class: "clock ring", title: t("clock_running"), dataset: { began: clock.began, until: clock.until } },
    s("svg", { viewBox: "0 0 18 18", width: 18, height: 18, "aria-hidden": "true" }, circle("track"), circle("rest")),
    h("span", { class: "left" }),
  );
  run(drawn);
  return drawn;
}

/** WeChat: one slot for each call, filling while the call is open. */
export function slots(clock) {
  const drawn = h("span", {
    class: "clock slots",
    role: "img",
    "aria-label": t("calls_of", { n: clock.calls.length, of: clock.of }),
  });
  for (let place = 0; place < clock.of; place += 1) {
    const call = clock.calls[place];
    const open = call && call.seconds === null;
    const state = call && (held(clock, place) ? "held" : known(call));
    const slot = h(
      "span",
      {
        class: `slot ${state ?? "free"}`,
        title: call ? t(`call_${state}`, { n: place + 1 }) : t("call_free", { n: place + 1 }),
        dataset: open ? { began: call.at, until: call.at + clock.limit } : {},
      },
      h("i"),
    );
    if (open) run(slot);
    else if (call) slot.style.setProperty("--gone", String(Math.min(1, call.seconds / clock.limit) || 0.02));
    drawn.append(slot);
  }
  return drawn;
}

function known(call) {
  if (call.seconds === null) return "open";
  return ["answered", "timeout"].includes(call.outcome) ? call.outcome : "refused";
}

/** Slack: a tick when the event was answered in time, and how often it came. */
export function ack(clock) {
  const n = attempts(clock.tries);
  const again = n > 1 ? h("span", { class: "times", title: t("ack_tries", { n }) }, `×${n}`) : null;
  if (!clock.done) {
    const drawn = h(
      "span",
      { class: "clock ack open", title: t("ack_open"), dataset: { began: clock.began, until: clock.until } },
      h("i"),
      again,
    );
    run(drawn);
    return drawn;
  }
  if (clock.done !== "answered")
    return h("span", { class: "clock ack late", title: t("ack_late", { why: clock.done }) }, icon("alarm", 12), again);
  const last = clock.tries.findLast((one) => one.seconds !== null);
  const ms = Math.round((last?.seconds ?? 0) * 1000);
  return h("span", { class: "clock ack done", title: t("ack_done", { ms }) }, icon("check", 12), again);
}

/** How often the same event came: one message can be several events. */
function attempts(tries) {
  const each = new Map();
  for (const { event } of tries) each.set(event, (each.get(event) ?? 0) + 1);
  return Math.max(0, ...each.values());
}

function mark(mood, drawing, words) {
  return h("span", { class: `clock mark ${mood}`, title: words, role: "img", "aria-label": words }, icon(drawing, 14));
}

function run(element) {
  look(element);
  ticking ??= setInterval(() => {
    const running = document.querySelectorAll(".clock[data-until], .clock [data-until]");
    running.forEach(look);
    if (!running.length) {
      clearInterval(ticking);
      ticking = null;
    }
  }, PACE);
}

function look(element) {
  const { began, until } = element.dataset;
  const now = Date.now() / 1000;
  const gone = Math.min(1, Math.max(0, (now - began) / (until - began)));
  element.style.setProperty("--gone", gone.toFixed(4));
  const left = element.querySelector(".left");
  if (left) left.textContent = String(Math.max(0, Math.ceil(until - now)));
  element.classList.toggle("soon", gone > 0.75);
  if (gone < 1) return;
  element.removeAttribute("data-until");
  if (element.classList.contains("ring")) element.replaceWith(mark("late", "alarm", t("clock_expired")));
}
