// All facts of the scene, by kind and id, as the server has them. Nothing is guessed here.
import { tell } from "./dom.js";
import { t } from "./words.js";

const AGAIN = 1500; // ms until a stream that the browser gave up is opened again

const facts = new Map(); // kind -> Map of id -> fact
const listeners = new Map(); // kind -> Set of functions
const changed = new Map(); // "kind id" -> what the listeners knew before
const after = new Set();
let asked = false;
let source = null;

export const store = {
  /** "connecting", "live" or "lost". Listen with on("state", fn): fn is told {kind, id, state}. */
  state: "connecting",

  /** Calls fn(fact, old) for every fact of the kind that changed, once in a frame. What is gone has `dropped`. */
  on(kind, fn) {
    const those = listeners.get(kind) ?? new Set();
    listeners.set(kind, those.add(fn));
    return () => those.delete(fn);
  },

  /** Calls fn once in each frame in which something changed, after all others. */
  after(fn) {
    after.add(fn);
    return () => after.delete(fn);
  },

  all(kind) {
    return [...(facts.get(kind)?.values() ?? [])];
  },

  get(kind, id) {
    return facts.get(kind)?.get(id);
  },
};

/** Follows the scene from now on; opens the stream again whenever it breaks. */
export function connect(url = "/scene") {
  source?.close();
  source = new EventSource(url);
  source.addEventListener("all", (event) => {
    const told = JSON.parse(event.data);
    const kept = new Set(told.map(key));
    for (const those of facts.values()) {
      for (const fact of [...those.values()]) {
        if (!kept.has(key(fact)) && fact.kind !== "state") take({ kind: fact.kind, id: fact.id, dropped: true });
      }
    }
    told.forEach(take);
    become("live");
  });
  source.addEventListener("some", (event) => {
    JSON.parse(event.data).forEach(take);
    become("live");
  });
  source.addEventListener("error", () => {
    become("lost");
    if (source.readyState === EventSource.CLOSED) setTimeout(() => connect(url), AGAIN);
  });
}

/** Asks the server to do something. What it refuses is shown to the user; then null comes back. */
export async function post(path, json = {}) {
  let why;
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(json),
    });
    const told = await answer.json().catch(() => ({}));
    if (answer.ok) return told;
    why = told.error ?? `${answer.status} ${answer.statusText}`;
  } catch {
    why = t("unreachable");
  }
  tell(t("refused", { why }), "bad");
  return null;
}

function key(fact) {
  return `${fact.kind} ${fact.id}`;
}

function take(fact) {
  const those = facts.get(fact.kind) ?? new Map();
  facts.set(fact.kind, those);
  if (!changed.has(key(fact))) changed.set(key(fact), { fact, old: those.get(fact.id) });
  if (fact.dropped) those.delete(fact.id);
  else those.set(fact.id, fact);
  if (!asked) {
    asked = true;
    requestAnimationFrame(inform);
  }
}

function inform() {
  asked = false;
  const those = [...changed.values()];
  changed.clear();
  for (const {
    fact: { kind, id },
    old,
  } of those) {
    const fact = store.get(kind, id) ?? { kind, id, dropped: true };
    if (fact.dropped && !old) continue; // came and went between two frames
    for (const fn of listeners.get(kind) ?? []) fn(fact, old);
  }
  for (const fn of after) fn();
}

function become(state) {
  if (store.state === state) return;
  store.state = state;
  take({ kind: "state", id: "state", state });
}
