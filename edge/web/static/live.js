// Follows the gateway's stream while the page is in sight: every break is caught up from the last place seen.

import { load, put, state, tell } from "./state.js";

const KINDS = ["card", "call", "utterance", "note", "refusal", "order", "outcome", "play", "device", "health", "speaking"];
const SILENCE_MS = 15000; // health comes every 5 s
const AGAIN_MS = 2000;

let source = null;
let place = "";
let lastHeard = 0;

/** Opens the stream and keeps it open. */
export function follow() {
  open();
  setInterval(() => {
    if (source && Date.now() - lastHeard > SILENCE_MS) open();
  }, AGAIN_MS);
  // A browser opens six connections to a gateway at most: pages that nobody looks at must not hold them.
  document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
}

function close() {
  source?.close();
  source = null;
}

function open() {
  close();
  lastHeard = Date.now();
  const stream = new EventSource(place === "" ? "/api/stream" : `/api/stream?after=${place}`);
  source = stream;
  if (place === "") stream.onopen = reload;
  stream.onerror = () => {
    connected(false);
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => stream === source && open(), AGAIN_MS);
  };
  for (const kind of KINDS)
    stream.addEventListener(kind, (event) => hear(event, () => put(kind, JSON.parse(event.data))));
  stream.addEventListener("snapshot", (event) => hear(event, reload));
}

function hear(event, take) {
  lastHeard = Date.now();
  if (event.lastEventId) place = event.lastEventId;
  connected(true);
  take();
}

function connected(now) {
  if (state.connected === now) return;
  state.connected = now;
  tell("connection");
}

async function reload() {
  try {
    await load();
  } catch {
    connected(false);
    place = "";
    setTimeout(open, AGAIN_MS);
  }
}
