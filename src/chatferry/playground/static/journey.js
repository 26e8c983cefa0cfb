// The way of a message, put together from what the scene knows of it. Draws nothing.
import { exchangesOf, mood, noted, now, origin, PLATFORMS, short, span, turnOf } from "./facts.js";
import { store } from "./store.js";
import { t } from "./words.js";

const STATES = {
  due: t("turn_due"),
  doing: t("turn_doing"),
  done: t("turn_done"),
  failed: t("turn_failed"),
  parked: t("turn_parked"),
  gone: t("turn_gone"),
  merged: t("turn_merged"),
  withdrawn: t("turn_withdrawn"),
};
const MOODS = { due: "open", doing: "open", done: "good", failed: "bad", parked: "open", gone: "bad" };
const VIAS = {
  reply: t("via_reply"),
  push: t("via_push"),
  passive: t("via_passive"),
  custom: t("via_custom"),
  post: t("via_post"),
  stream: t("via_stream"),
  response: t("via_response"),
};
const ALIKE = 3; // calls of one kind that are told as one

const lives = new Map(); // when the gateway was killed or back, as long as this page is open: the scene knows only the last
store.on("gateway", ({ state, since, starts }) => {
  if (state === "killed" || (state === "up" && starts > 1)) lives.set(since, state);
});

/** Everything about the way of the message of this bubble. Times in `steps` are unix seconds. */
export function journey(bubble) {
  const from = origin(bubble);
  const turn = turnOf(bubble) ?? turnOf(from);
  const exchanges = exchangesOf(bubble);
  const zero = turn?.accepted_at ?? exchanges.find((one) => one.way === "hook")?.at ?? from.at;
  const steps = [...hooks(exchanges), ...milestones(turn), ...calls(exchanges), ...pieces(turn, from), ...deaths(turn)];
  steps.sort((a, b) => a.at - b.at || a.rank - b.rank);
  return { from, turn, exchanges, zero, steps, verdict: verdict(turn, exchanges), phases: phases(turn) };
}

function verdict(turn, exchanges) {
  if (!turn) return { text: exchanges.length ? t("turn_unknown") : t("turn_none"), mood: "" };
  const again = turn.state === "due" && turn.attempts > 0;
  return { text: again ? t("turn_again") : STATES[turn.state] ?? turn.state, mood: MOODS[turn.state] ?? "", error: turn.error };
}

function hooks(exchanges) {
  const sent = exchanges.filter((one) => one.way === "hook");
  return sent.map((one) => ({
    at: one.at,
    rank: 0,
    kind: "hook",
    mood: mood(one),
    title: t("step_hook", { name: PLATFORMS[one.platform] ?? one.platform }),
    about: [noted(one), outcome(one)].filter(Boolean).join(" · "),
    exchange: one,
  }));
}

function outcome(one) {
  if (one.seconds === null) return t("awaited");
  if (mood(one) === "held") return `${t("try_held")} · ${span(one.seconds)}`;
  const said = one.status === 0 ? t("no_answer") : String(one.status);
  return [said, one.reason, span(one.seconds)].filter(Boolean).join(" · ");
}

function milestones(turn) {
  if (!turn) return [];
  const waited = (turn.started_at ?? 0) - turn.accepted_at;
  const tokens = turn.completion_tokens && t("tokens", { asked: turn.prompt_tokens ?? 0, answered: turn.completion_tokens });
  const tries = turn.attempts > 1 ? t("attempts", { number: turn.attempts }) : "";
  const steps = [
    [turn.accepted_at, 1, t("step_accepted"), t("step_accepted_about")],
    [turn.started_at, 2, t("step_started"), [t("waited", { time: span(Math.max(0, waited)) }), tries].filter(Boolean).join(" · ")],
    [turn.first_token_at, 4, t("step_first"), ""],
    [turn.answered_at, 5, t("step_answered"), [turn.model, tokens].filter(Boolean).join(" · ")],
    [turn.finished_at, 8, t("step_finished"), STATES[turn.state] ?? ""],
  ];
  const known = steps.filter(([at]) => at !== null && at !== undefined);
  return known.map(([at, rank, title, about]) => ({ at, rank, kind: "turn", mood: rank === 8 ? MOODS[turn.state] ?? "" : "", title, about }));
}

/** The gateway's own ends and returns, while it had this message. */
function deaths(turn) {
  if (!turn) return [];
  const during = [...lives].filter(([at]) => at >= turn.accepted_at && at <= (turn.finished_at ?? now()));
  return during.map(([at, state]) => {
    const killed = state === "killed";
    return { at, rank: 2, kind: "life", mood: killed ? "bad" : "good", title: killed ? t("gateway_killed") : t("gateway_up"), about: killed ? "SIGKILL" : "" };
  });
}

/** Calls of the bot; many of one kind in a row, that all came to a good end, are one step. */
function calls(exchanges) {
  const runs = new Map();
  for (const one of exchanges.filter((each) => each.way === "call")) {
    const kind = `${one.platform} ${one.method} ${short(one.path)} ${mood(one)} ${one.reason}`;
    runs.set(kind, [...(runs.get(kind) ?? []), one]);
  }
  return [...runs.values()].flatMap((run) => (run.length > ALIKE ? [call(run[0], run)] : run.map((one) => call(one, [one]))));
}

function call(one, run) {
  const last = run.at(-1);
  const many = run.length > 1 ? t("times", { number: run.length, time: span(last.at - one.at) }) : "";
  return {
    at: one.at,
    rank: one.platform === "model" ? 3 : 6,
    kind: one.platform === "model" ? "model" : "call",
    mood: mood(last),
    title: one.platform === "model" ? t("step_model") : short(one.path),
    about: [many, noted(one), outcome(last)].filter(Boolean).join(" · "),
    exchange: last,
    code: one.platform !== "model",
  };
}

function pieces(turn, from) {
  const sent = turn?.sent ?? [];
  return sent.map((piece, at) => {
    const bubble = piece.receipt && store.get("bubble", `${from.platform}/${from.chat}/${piece.receipt}`);
    const via = VIAS[(bubble || answerOf(from, at))?.via];
    const title = sent.length > 1 ? t("step_piece", { number: at + 1, of: sent.length }) : t("step_delivered");
    return { at: piece.at, rank: 7, kind: "sent", mood: "good", title, about: via ?? "" };
  });
}

/** The bubble of an answer whose id the bot does not know. */
function answerOf(from, at) {
  const ours = (one) => one.platform === from.platform && one.chat === from.chat && !one.who && one.answers === from.message;
  return store.all("bubble").filter(ours).sort((a, b) => a.at - b.at)[at];
}

/** What the time went into: [name, seconds], for a turn that has begun. */
function phases(turn) {
  if (!turn) return [];
  const over = turn.finished_at ?? (["due", "doing"].includes(turn.state) ? now() : turn.answered_at ?? turn.accepted_at);
  const marks = [
    ["wait", t("phase_wait"), turn.accepted_at],
    ["think", t("phase_think"), turn.started_at],
    ["write", t("phase_write"), turn.first_token_at],
    ["send", t("phase_send"), turn.answered_at],
    ["", "", over],
  ].filter(([, , at]) => at !== null && at !== undefined);
  return marks.slice(0, -1).map(([name, label, at], place) => ({ name, label, seconds: Math.max(0, marks[place + 1][2] - at) }));
}
