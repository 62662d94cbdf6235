// What the page knows: filled by questions at the start, kept up by the stream, told to whoever shows it.

import { get } from "./gateway.js";
import { inLanguage, name } from "./words.js";

const CARDS = 300;
const CALLS = 50;
const CHAINS_AGAIN_MS = 1000;

export const state = {
  site: null,
  health: null,
  connected: null, // null before the first try
  cards: new Map(),
  calls: new Map(),
  devices: new Map(),
  notes: new Map(),
  refusals: new Map(),
  orders: new Map(),
  plays: new Map(),
  chains: [],
};

const OPEN = new Set(["proposed", "accepted", "fired"]);
const listeners = new Set();
const heard = new Set(); // told by the stream while a question was under way: newer than its answer

/** Calls `listener(kind, record)` on every change. */
export const listen = (listener) => listeners.add(listener);

/** Tells everybody of a change. */
export const tell = (kind, record) => listeners.forEach((listener) => listener(kind, record));

/** Whether a card still asks for something. */
export const isOpen = (card) => OPEN.has(card.state);

/** Whether it is known that a store has nothing, as opposed to not having been asked for yet. */
export const isEmpty = (store) => state.site !== null && store.size === 0;

const STORES = {
  card: ["cards", "id"],
  call: ["calls", "id"],
  note: ["notes", "id"],
  refusal: ["refusals", "seq"],
  order: ["orders", "id"],
  play: ["plays", "play"],
};

/** A record from the stream, or from the answer to what was done here. */
export function put(kind, record) {
  if (kind === "device") record.forEach((row) => state.devices.set(row.device, row));
  else if (kind === "health") state.health = record;
  else if (STORES[kind]) {
    const [store, id] = STORES[kind];
    if (kind === "card" && record.state === "proposed" && !state.cards.has(record.id)) tell("new", record);
    heard.add(`${store}/${record[id]}`);
    state[store].set(record[id], record);
  }
  if (kind === "card") askChains();
  tell(kind, record);
}

let chainsAsked = null;

/** What is best to do follows from all cards of a subject: it is asked for anew when one has changed, but not for each
 * of many that change at once. */
function askChains() {
  chainsAsked ??= setTimeout(async () => {
    chainsAsked = null;
    try {
      state.chains = await get("/api/chains");
    } catch {
      return; // the connection is gone: everything is asked for anew when it is back
    }
    tell("chain");
  }, CHAINS_AGAIN_MS);
}

/** What is asked about a goal; its name when no play says it. */
export function questionOf(goal) {
  const play = [...state.plays.values()].find((one) => one.goal === goal);
  return (play && inLanguage(play.question)) || name(goal);
}

/** Asks for everything anew. */
export async function load() {
  heard.clear();
  const [site, health, open, lately, calls, devices, notes, refusals, orders, plays, chains] = await Promise.all(
    [
      "/api/site",
      "/api/health",
      "/api/cards?state=open&limit=1000",
      `/api/cards?state=all&limit=${CARDS}`,
      `/api/calls?limit=${CALLS}`,
      "/api/devices",
      "/api/notes?limit=100",
      "/api/refusals?limit=200",
      "/api/orders",
      "/api/plays",
      "/api/chains",
    ].map(get),
  );
  Object.assign(state, { site, health, chains });
  state.devices = new Map(devices.map((row) => [row.device, row]));
  fill("cards", [...open, ...lately], "id");
  fill("calls", calls, "id");
  fill("notes", notes, "id");
  fill("refusals", refusals, "seq");
  fill("orders", orders, "id");
  fill("plays", plays, "play");
  tell("all");
}

/** Takes the answer to a question, except for what the stream has told since. */
function fill(store, records, id) {
  const kept = [...state[store]].filter(([key]) => heard.has(`${store}/${key}`));
  state[store] = new Map([...records.map((record) => [record[id], record]), ...kept]);
}

/** Asks for calls older than those that are there; false when there are none. */
export async function loadOlderCalls() {
  const last = newestFirst(state.calls).at(-1);
  const older = await get(`/api/calls?limit=${CALLS}&before=${last.id}`);
  older.forEach((call) => state.calls.set(call.id, call));
  tell("call");
  return older.length === CALLS;
}

/** The records of a store, newest first. */
export function newestFirst(store) {
  return [...store.values()].sort((a, b) => ((a.id ?? a.seq) < (b.id ?? b.seq) ? 1 : -1));
}
