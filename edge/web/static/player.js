// The one sound of the page: a bar at the bottom that plays a call, from wherever it was clicked.

import { h, icon, notice } from "./dom.js";
import { length, say } from "./words.js";

const bar = document.getElementById("player");
const sound = new Audio();
sound.preload = "metadata";

let callId = null;
let title = "";
let toggle, seek, time;

const listeners = new Set();

/** Calls `listener(callId, second)` while a call plays, and with null when the bar is closed; gives a way to stop. */
export function onPlaying(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Plays a call from a second on. */
export function playFrom(id, second, subject) {
  title = subject;
  if (id !== callId) {
    callId = id;
    sound.src = `/api/calls/${id}/audio`;
  }
  draw();
  sound.currentTime = Math.max(0, second);
  sound.play().catch((error) => {
    if (error.name !== "AbortError") notice(say("noSound"), "error");
  });
}

/** Plays or pauses the call that is in the bar. */
export function togglePlay() {
  if (callId === null) return;
  if (sound.paused) sound.play();
  else sound.pause();
}

/** Draws the bar again, after the language changed. */
export function draw() {
  if (callId === null) return;
  toggle = h("button.round", { onclick: togglePlay });
  seek = h("input", {
    type: "range",
    min: 0,
    step: 0.1,
    "aria-label": say("position"),
    oninput: () => (sound.currentTime = seek.valueAsNumber),
  });
  time = h("span.mono");
  const link = h("a", { href: `#/calls/${callId}` }, title);
  bar.replaceChildren(
    toggle,
    link,
    seek,
    time,
    h("button.plain", { "aria-label": say("close"), onclick: close }, icon("close")),
  );
  bar.hidden = false;
  show();
}

function close() {
  sound.pause();
  bar.hidden = true;
  callId = null;
  listeners.forEach((listener) => listener(null, 0));
}

function show() {
  if (callId === null) return;
  const duration_s = Number.isFinite(sound.duration) ? sound.duration : 0;
  toggle.replaceChildren(icon(sound.paused ? "play" : "pause"));
  toggle.setAttribute("aria-label", say(sound.paused ? "play" : "pause"));
  seek.max = duration_s;
  seek.value = sound.currentTime;
  seek.setAttribute("aria-valuetext", length(sound.currentTime));
  time.textContent = `${length(sound.currentTime)} / ${length(duration_s)}`;
  listeners.forEach((listener) => listener(callId, sound.currentTime));
}

for (const event of ["timeupdate", "play", "pause", "loadedmetadata", "seeked", "ended"])
  sound.addEventListener(event, show);
// timeupdate comes four times a second only; words are shorter than that.
sound.addEventListener("play", function tick() {
  if (sound.paused) return;
  show();
  requestAnimationFrame(tick);
});
