// The site at a glance, beside the cards: its last calls and its devices.

import { h } from "./dom.js";
import { isEmpty, newestFirst, state } from "./state.js";
import { clock, length, number, percent, say, sensor } from "./words.js";

const CALLS_SHOWN = 6;
const VALUES_SHOWN = 3;

/** The last calls, each a link. */
export function calls() {
  const rows = newestFirst(state.calls).slice(0, CALLS_SHOWN);
  return h("section", {}, h("h2", {}, h("a", { href: "#/calls" }, say("calls"))),
    rows.length === 0 ? isEmpty(state.calls) && h("p.quiet", {}, say("noCalls")) : h("ul.plain.box", {}, rows.map((call) =>
      h("li", {}, h("a.row", { href: `#/calls/${call.id}` },
        h("span.grow", {}, h("strong", {}, call.customer), h("br"), h("span.quiet", {}, `${clock(call.at)} · ${length(call.duration_s)}${call.done ? "" : ` · ${say("transcribing")}`}`)),
        call.cards > 0 && h("span.chip", {}, say("cardsOf", call.cards)))))));
}

/** All devices with their score, the most suspicious first. */
export function devices() {
  const rows = [...state.devices.values()].sort((a, b) => (b.score ?? -1) - (a.score ?? -1));
  return h("section", {}, h("h2", {}, h("a", { href: "#/devices" }, say("devices"))),
    rows.length === 0 ? isEmpty(state.devices) && h("p.quiet", {}, say("noDevices")) : h("ul.plain.box", {}, rows.map((row) =>
      h("li", {}, h("a.row", { href: `#/devices/${encodeURIComponent(row.device)}` },
        h("span.grow", {}, h("strong", {}, row.device), h("br"), h("span.quiet", {}, values(row.values))), score(row.score))))));
}

function values(readings) {
  return Object.entries(readings).slice(0, VALUES_SHOWN).map(([raw, value], index) => {
    const [label, unit] = sensor(raw);
    return [index > 0 && " · ", h("span.nobreak", {}, `${label} ${number(value)} ${unit}`.trim())];
  });
}

/** A device's score as a small meter. */
export function score(value) {
  if (value === null) return h("span.quiet", {}, say("noScore"));
  const fill = h("span.fill");
  fill.style.inlineSize = percent(value).replace(" ", "");
  const level = value >= 0.8 ? "high" : value >= 0.5 ? "middle" : "low";
  return h(`span.score.${level}`, {}, h("span.quiet", {}, say("score")), h("span.track", {}, fill), h("span.mono", {}, percent(value)));
}
