// The site at a glance, beside the cards: its last calls and its devices.

import { howLong } from "./calls.js";
import { h, keep } from "./dom.js";
import { isEmpty, newestFirst, state } from "./state.js";
import { clock, number, percent, say, sensor } from "./words.js";

const CALLS_SHOWN = 6;
const VALUES_SHOWN = 3;

/** The last calls and all devices, the most suspicious first: an element, and what brings it up to date. */
export function glance() {
  const calls = section("calls", "noCalls");
  const devices = section("devices", "noDevices");
  const update = () => {
    fill(calls, state.calls, newestFirst(state.calls).slice(0, CALLS_SHOWN), "id", callRow);
    fill(
      devices,
      state.devices,
      [...state.devices.values()].sort((a, b) => (b.score ?? -1) - (a.score ?? -1)),
      "device",
      deviceRow,
    );
  };
  update();
  return { element: h("aside.side", {}, calls, devices), update };
}

function section(title, nothing) {
  return h(
    "section",
    {},
    h("h2", {}, h("a", { href: `#/${title}` }, say(title))),
    h("p.quiet", {}, say(nothing)),
    h("ul.plain.box"),
  );
}

function fill(part, store, rows, id, build) {
  const [, nothing, list] = part.children;
  nothing.hidden = !isEmpty(store);
  list.hidden = rows.length === 0;
  keep(
    list,
    rows.map((row) => ({ key: row[id], stamp: JSON.stringify(row), row })),
    ({ row }) => h("li", {}, build(row)),
  );
}

function callRow(call) {
  return h(
    "a.row",
    { href: `#/calls/${call.id}`, "data-part": "link" },
    h(
      "span.grow",
      {},
      h("strong", {}, call.customer),
      h("br"),
      h(
        "span.quiet",
        {},
        `${clock(call.at)} · `,
        howLong(call),
        call.done ? "" : ` · ${say(call.live ? "liveNow" : "transcribing")}`,
      ),
    ),
    call.cards > 0 && h("span.chip", {}, say("cardsMade", call.cards)),
  );
}

function deviceRow(row) {
  return h(
    "a.row.device",
    { href: `#/devices/${encodeURIComponent(row.device)}`, "data-part": "link" },
    h("strong", {}, row.device),
    score(row.score),
    h("span.quiet.values", {}, values(row.values)),
  );
}

function values(readings) {
  return Object.entries(readings)
    .slice(0, VALUES_SHOWN)
    .map(([raw, value], index) => {
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
  return h(
    `span.score.${level}`,
    {},
    h("span.quiet", {}, say("score")),
    h("span.track", {}, fill),
    h("span.mono", {}, percent(value)),
  );
}
