// The head of the page: is the gateway well, is the page connected to it, what waits for HQ.

import { h } from "./dom.js";
import { state } from "./state.js";
import { clock, say } from "./words.js";

const at = (id) => document.getElementById(id);

/** Brings the head up to what is known. */
export function showStatus() {
  const { site, health, connected } = state;
  at("site").textContent = site?.name ?? "Outstation";
  const live = health && !health.accepting ? "full" : "live";
  at("live").textContent = say(connected ? live : connected === null ? "connecting" : "offline");
  at("dot").className = `dot ${level()}`;
  at("dot").title = sentence();
  const waiting = health ? health.outbox.now + health.outbox.day + health.outbox.bulk : 0;
  at("waiting").textContent = health ? `${say("waitsForHq")} ${waiting}` : "";
  at("waiting").hidden = !health;
  at("health").replaceChildren(...(health && site ? details(site, health) : [h("p", {}, sentence())]));
}

function level() {
  if (!state.connected || !state.health) return "off";
  if (!state.health.ready || !state.health.accepting) return "bad";
  return state.health.problems.length ? "middling" : "good";
}

function sentence() {
  const bad = state.health?.ready ? "noRoom" : "notReady";
  const off = state.connected === null ? "connecting" : "offline";
  return say({ off, bad, middling: "troubled", good: "ready" }[level()]);
}

function details(site, health) {
  const facts = [
    [`${say("waitsForHq")}: ${say("laneNow")}`, health.outbox.now],
    [`${say("waitsForHq")}: ${say("laneDay")}`, health.outbox.day],
    [`${say("waitsForHq")}: ${say("laneBulk")}`, health.outbox.bulk],
    [say("readingsBehind"), health.readings_behind],
    [say("callsWaiting"), health.calls_waiting],
    [say("writerWaiting"), health.writer_waiting],
    [say("refusals"), health.refusals],
    [say("since"), clock(site.started_at)],
    [say("version"), site.version],
  ];
  return [
    h("p", {}, h("strong", {}, sentence())),
    health.problems.length > 0 &&
      h(
        "ul.problems",
        {},
        health.problems.map((problem) => h("li", {}, problem)),
      ),
    h(
      "dl.facts",
      {},
      facts.map(([key, value]) => [h("dt", {}, key), h("dd.mono", {}, String(value))]),
    ),
  ].filter(Boolean);
}
