// The list of calls.

import { h, keep, notice } from "./dom.js";
import { isEmpty, loadOlderCalls, newestFirst, state } from "./state.js";
import { gatewayNow } from "./gateway.js";
import { clock, length, say } from "./words.js";

/** The view of all calls. */
export function show(main) {
  const rows = h("ul.plain.box.table");
  const nothing = h("div.empty", {}, h("h2", {}, say("noCalls")), h("p", {}, say("noCallsHint")));
  const older = h("button", { onclick: more }, say("older"));
  main.replaceChildren(h("div.page", {}, h("h1", {}, say("calls")), nothing, rows, older));

  async function more() {
    try {
      older.hidden = !(await loadOlderCalls());
    } catch (error) {
      notice(error.message, "error");
    }
  }

  const update = (kind) => {
    if (kind !== "all" && kind !== "call") return;
    const calls = newestFirst(state.calls);
    keep(
      rows,
      calls.map((call) => ({ key: call.id, stamp: JSON.stringify(call), call })),
      ({ call }) => row(call),
    );
    nothing.hidden = !isEmpty(state.calls);
    rows.hidden = calls.length === 0;
    if (kind === "all") older.hidden = calls.length < 50;
  };
  update("all");
  return { title: say("calls"), update };
}

function row(call) {
  return h(
    "li",
    {},
    h(
      "a.row.call",
      { href: `#/calls/${call.id}`, "data-part": "link" },
      h("span.mono.quiet.when", {}, clock(call.at)),
      h("strong.customer", {}, call.customer),
      h("span.quiet.agent", {}, [call.agent, direction(call)].filter(Boolean).join(" · ")),
      h("span.mono.length", {}, howLong(call)),
      h("span.quiet.lang", {}, call.language),
      progress(call),
      call.cards > 0 ? h("span.chip", {}, say("cardsMade", call.cards)) : h("span"),
    ),
  );
}

/** In or out, if it is known. */
export function direction(call) {
  return { in: say("incoming"), out: say("outgoing") }[call.direction] ?? "";
}

/** How long a call is, in seconds; one that goes on, so far. */
export function seconds(call) {
  return call.live ? Math.max(0, (gatewayNow() - call.at) / 1e6) : call.duration_s;
}

/** The same for people; `tickCalls` keeps it up to now. */
export function howLong(call) {
  return call.live ? h("span", { "data-since": call.at }, length(seconds(call))) : length(call.duration_s);
}

/** Brings the length of every call that goes on up to now. */
export function tickCalls() {
  for (const element of document.querySelectorAll("[data-since]"))
    element.textContent = length((gatewayNow() - Number(element.dataset.since)) / 1e6);
}

/** How far a call is transcribed, or that it goes on. */
export function progress(call) {
  if (call.live)
    return h(
      "span.progress",
      {},
      h("span.chip.live", {}, say("liveNow")),
      h("span.quiet", {}, `${call.utterances} ${say("utterances")}`),
    );
  if (call.done) return h("span.quiet.progress", {}, `${call.utterances} ${say("utterances")}`);
  const share = call.duration_s ? call.transcribed_s / call.duration_s : 0;
  return h(
    "span.progress",
    {},
    h("progress", { value: share, "aria-label": say("transcribing") }),
    h("span.quiet", {}, share ? `${say("transcribing")} ${length(call.transcribed_s)}` : say("waitingTranscript")),
  );
}
