// What belongs together: messages, turns, exchanges, and what everything is called.
import { store } from "./store.js";
import { t } from "./words.js";

const ABOUT = 0.3; // seconds by which two clocks may differ
const NEARLY = 0.02; // the same for two processes on one machine
const PATIENCE = 60; // seconds for which an answer is looked for where nobody tells whose it is

export const PLATFORMS = {
  line: t("platform_line"),
  wechat: t("platform_wechat"),
  slack: t("platform_slack"),
  model: t("platform_model"),
};

// What simulators note, as far as it is language. Anything else, such as a model's name, stays as it is.
const NOTES = [
  ["calls_of", /^call (?<n>\d+) of (?<of>\d+)$/],
  ["note_encrypted", /^encrypted$/],
  ["note_twice", /^(?:duplicate|copy 2)$/],
  ["note_late", /^(?<time>.+) s late$/],
  ["note_redelivery", /^redelivery ?(?<n>\d*)$/],
  ["note_retry", /^retry (?<n>\d+): (?<why>.*)$/],
  ["note_check", /^check of the address$/],
];

/** The note of an exchange in the words of the page. */
export function noted({ note }) {
  const said = (part) => {
    const [key, form] = NOTES.find(([, one]) => one.test(part)) ?? [];
    return key ? t(key, form.exec(part).groups).trim() : part;
  };
  return note.split(", ").map(said).join(", ");
}

/** Seconds in the words of the page: 0.42 s, 12 s, 3 min. */
export function span(seconds) {
  if (seconds < 0.001) return t("milliseconds", { number: "<1" });
  if (seconds < 0.0995) return t("milliseconds", { number: Math.round(seconds * 1000) });
  if (seconds < 9.995) return t("seconds", { number: seconds.toFixed(2) });
  if (seconds < 119.5) return t("seconds", { number: seconds.toFixed(seconds < 59.95 ? 1 : 0) });
  return t("minutes", { number: Math.round(seconds / 60) });
}

/** How long it still is, in whole numbers. */
export function rest(seconds) {
  const left = Math.max(0, Math.ceil(seconds));
  if (left < 120) return t("seconds", { number: left });
  return left < 7200 ? t("minutes", { number: Math.ceil(left / 60) }) : t("hours", { number: Math.ceil(left / 3600) });
}

/** The time of day of a unix second, to the second. */
export function clock(at) {
  return new Date(at * 1000).toLocaleTimeString("en-GB");
}

export const now = () => Date.now() / 1000;

/** A path without what all paths of the platform have in common, and without its query. */
export function short(path) {
  const bare = path.split("?")[0].replace(/^https?:\/\/[^/]+/, "");
  return bare.replace(/^.*?\/(?:v2\/bot|api|cgi-bin|v1beta\/models|v1)\/(?=.)/, "") || "/";
}

/** What a chat is called, and whose it is. */
export function chatName(platform, chat) {
  const fact = store.get("chat", `${platform}/${chat}`);
  if (!fact) return "";
  return fact.shape === "dm" ? fact.who : fact.shape === "channel" ? `#${fact.name}` : fact.name;
}

/** Whether WeChat's call number `place` ran out of time so that it calls again. If all came to nothing, none did. */
export function held(clock, place) {
  return clock.calls?.[place]?.outcome === "timeout" && place + 1 < clock.of && clock.done !== "failed";
}

/** How an exchange ended: "good", "bad", or "held", which is neither. */
export function mood(exchange) {
  if (exchange.seconds === null) return "open";
  const clock = exchange.reason === "timeout" && store.get("clock", `${exchange.platform}/${exchange.chat}/${exchange.message}`);
  if (clock && held(clock, clock.calls?.findLastIndex((call) => call.at <= exchange.at))) return "held";
  if (exchange.status === 0) return "bad";
  return exchange.status < 400 && !exchange.reason ? "good" : "bad";
}

/** The message of a person that this one answers; a person's own is it itself. */
export function origin(bubble) {
  if (bubble.who) return bubble;
  const turn = turnOf(bubble);
  const ref = turn?.ref || bubble.answers;
  const known = ref && store.get("bubble", `${bubble.platform}/${bubble.chat}/${ref}`);
  if (known) return known;
  if (turn) return bubble;
  const before = said(bubble).filter((one) => one.at <= bubble.at);
  return before.at(-1) ?? bubble;
}

/** What people said in this chat. */
function said(bubble) {
  const same = (one) => one.platform === bubble.platform && one.chat === bubble.chat && one.who;
  return store.all("bubble").filter(same).sort((a, b) => a.at - b.at);
}

/** The turn that a message belongs to, on either side of it. */
export function turnOf(bubble) {
  const turns = store.all("turn").filter((turn) => turn.channel === bubble.platform);
  const asked = (ref) => turns.findLast((turn) => turn.ref === ref);
  if (bubble.who) return asked(bubble.message);
  const sent = turns.findLast((turn) => turn.sent.some((piece) => piece.receipt === bubble.message));
  return sent ?? (bubble.answers ? asked(bubble.answers) : undefined);
}

/** The exchanges that belong to a message, oldest first. */
export function exchangesOf(bubble) {
  const from = origin(bubble);
  const turn = turnOf(bubble) ?? turnOf(from);
  const receipts = turn ? turn.sent.map((piece) => piece.receipt) : [];
  const ids = new Set([bubble.message, from.message, turn?.ref, ...receipts].filter(Boolean));
  const [begin, end] = turn ? [turn.accepted_at, turn.finished_at ?? now()] : between(from);
  const inside = (one) => one.at >= begin - ABOUT && one.at <= end + ABOUT;
  const ours = (one) => {
    if (one.platform === "model") return one.message ? ids.has(one.message) : Boolean(turn) && thought(one, turn);
    if (one.platform !== bubble.platform) return false;
    if (ids.has(one.message) && (!one.chat || one.chat === bubble.chat)) return true;
    return one.way === "call" && one.chat === bubble.chat && inside(one) && !foreign(one, from, turn);
  };
  const found = store.all("exchange").filter(ours).sort((a, b) => a.at - b.at || a.number - b.number);
  const asked = found.filter((one) => one.platform === "model" && quotes(one, from.text));
  return asked.length ? found.filter((one) => one.platform !== "model" || asked.includes(one)) : found;
}

/** Whether a call of the same chat and time is about another message: one that grows is no turn's as yet. */
function foreign(exchange, from, turn) {
  const ref = exchange.message;
  if (!ref) return false;
  const others = store.all("turn").filter((one) => one.channel === from.platform && one.id !== turn?.id);
  if (others.some((one) => one.ref === ref || one.sent.some((piece) => piece.receipt === ref))) return true;
  const bubble = store.get("bubble", `${from.platform}/${exchange.chat}/${ref}`);
  return Boolean(bubble) && (bubble.who !== "" || (bubble.thread !== "" && ![from.message, from.thread].includes(bubble.thread)));
}

/** Whether the model may have been asked by this turn: nothing on the wire tells whose question it was. */
function thought(exchange, turn) {
  const begin = turn.started_at ?? Infinity;
  return exchange.at >= begin - NEARLY && exchange.at <= (turn.answered_at ?? turn.finished_at ?? now()) + NEARLY;
}

function quotes(exchange, text) {
  return Boolean(text) && (exchange.request.includes(text) || exchange.request.includes(JSON.stringify(text).slice(1, -1)));
}

function between(bubble) {
  const next = said(bubble).find((one) => one.at > bubble.at);
  return [bubble.at, Math.min(next?.at ?? Infinity, bubble.at + PATIENCE)];
}
