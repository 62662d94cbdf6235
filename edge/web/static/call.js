// One call: who said what when, how it was spoken, and what came of it. The transcript follows the sound.

import { direction, howLong, progress, seconds } from "./calls.js";
import { cardsInto } from "./cards.js";
import { h, icon, keep, svg } from "./dom.js";
import { highlighted, strengths } from "./evidence.js";
import { get } from "./gateway.js";
import { onPlaying, playFrom, togglePlay } from "./player.js";
import { state } from "./state.js";
import { clock, length, name, percent, say, tidy } from "./words.js";

const UNSURE = 0.5; // a word recognised with less confidence is underlined

/** The view of one call. */
export function show(main, id) {
  const head = h("header.head");
  const line = h("div.timeline");
  const lines = h("ol.plain.lines", { "aria-label": say("transcript") });
  const speaking = h("ol.plain.lines.speaking", { "aria-live": "polite" });
  const nothing = h("div.empty", {}, h("h2", {}, say("noTranscript")), h("p", {}, say("noTranscriptHint")));
  const follow = h("input", { type: "checkbox", checked: true });
  const talk = h("section");
  const cards = h("div.stack");
  const noCards = h("p.quiet", {}, say("noCallCards"));
  main.replaceChildren(
    h(
      "div.page",
      {},
      h("a.quiet", { href: "#/calls" }, `← ${say("calls")}`),
      head,
      line,
      h(
        "div.split",
        {},
        h(
          "section.transcript",
          {},
          h("div.titled", {}, h("h2", {}, say("transcript")), h("label.quiet", {}, follow, " ", say("follow"))),
          nothing,
          lines,
          speaking,
        ),
        h("aside.side", {}, h("section", {}, h("h2", {}, say("cards")), noCards, cards), talk),
      ),
    ),
  );

  let call = null;
  const said = new Map(); // what each channel is saying now
  let sung = null; // the line and the word that are being heard

  const read = async () => {
    try {
      call = await get(`/api/calls/${id}`);
      draw();
    } catch (error) {
      head.replaceChildren(h("div.empty", {}, h("h2", {}, say("gone")), h("p", {}, error.message)));
    }
  };

  const draw = () => {
    head.replaceChildren(
      h(
        "button.round",
        { "aria-label": say("play"), hidden: call.live, onclick: () => playFrom(id, 0, call.customer) },
        icon("play"),
      ),
      h(
        "div",
        {},
        h("h1", {}, call.customer),
        h(
          "p.quiet",
          {},
          [call.agent && `${name("agent")} ${call.agent}`, direction(call), clock(call.at)].filter(Boolean).join(" · "),
          " · ",
          howLong(call),
          ` · ${call.language}`,
        ),
      ),
      progress({ ...call, utterances: call.transcript.length }),
    );
    drawLines();
    noCards.hidden = call.cards.length > 0;
    cardsInto(cards, call.cards);
    talk.replaceChildren(h("h2", {}, say("talkFigures")), figures(call));
  };

  const drawLines = () => {
    nothing.hidden = call.transcript.length > 0;
    keep(
      lines,
      call.transcript.map((one) => ({
        key: one.id,
        stamp: JSON.stringify([one.labels, weightsOf(one, call)]),
        line: one,
      })),
      (item) => lineElement(item.line, call),
    );
    line.replaceChildren(timeline(call));
  };

  const hear = (playing, second) => {
    if (!call) return;
    const here = playing === id ? second : null;
    const head = line.querySelector(".playhead");
    if (head) {
      head.setAttribute("visibility", here === null ? "hidden" : "visible");
      for (const end of ["x1", "x2"]) head.setAttribute(end, `${(100 * (here ?? 0)) / call.duration_s}%`);
    }
    const spoken = here === null ? [] : call.transcript.filter((one) => one.start_s <= here && here < one.end_s);
    const element = spoken.length ? lines.kept.get(spoken.at(-1).id).element : null;
    const word =
      element && [...element.querySelectorAll("[data-from]")].findLast((one) => Number(one.dataset.from) <= here);
    if (sung?.element !== element) {
      sung?.element?.classList.remove("heard");
      element?.classList.add("heard");
      if (element && follow.checked) element.scrollIntoView({ block: "center", behavior: "smooth" });
    }
    if (sung?.word !== word) {
      sung?.word?.classList.remove("heard");
      word?.classList.add("heard");
    }
    sung = { element, word };
  };

  const update = (kind, record) => {
    if (kind === "call" && record?.id === id && record.done && !call?.done) read();
    else if (kind === "all") read();
    else if (kind === "call" && record?.id === id && call) {
      call = { ...call, transcribed_s: record.transcribed_s, duration_s: record.duration_s, done: record.done };
      draw();
    } else if (kind === "utterance" && record.call_id === id && call) {
      call.transcript = [...call.transcript.filter((one) => one.id !== record.id), record].sort(
        (a, b) => a.start_s - b.start_s,
      );
      drawLines();
    } else if (kind === "speaking" && record.call_id === id && call) {
      said.set(record.channel, record);
      speaking.replaceChildren(...[...said.values()].filter((one) => one.text).map((one) => spokenNow(one, call)));
    } else if (kind === "card" && record?.event_id === id && call) {
      call.cards = [record, ...call.cards.filter((card) => card.id !== record.id)].sort((a, b) =>
        a.id < b.id ? 1 : -1,
      );
      draw();
    } else if (kind === "chain" && call) cardsInto(cards, call.cards);
  };

  const stop = onPlaying(hear);
  read();
  return {
    title: state.calls.get(id)?.customer ?? say("calls"),
    update,
    leave: stop,
    key: (event) => {
      if (event.key !== " " || event.target.closest("button, a, input")) return;
      event.preventDefault();
      togglePlay();
    },
  };
}

function sideOf(channel, call) {
  return call.channels.indexOf(channel) % 2 === 1 ? "b" : "a";
}

/** What somebody is saying: it may still change. */
function spokenNow(one, call) {
  return h(
    `li.line.${sideOf(one.channel, call)}`,
    {},
    h("span.at.mono", {}, length(one.start_s)),
    h("div.words", {}, h("span.speaker", {}, name(one.channel)), h("p.quiet", {}, `${one.text} …`)),
  );
}

function lineElement(line, call) {
  const side = sideOf(line.channel, call);
  return h(
    `li.line.${side}`,
    {},
    h(
      "button.at.mono",
      {
        "aria-label": `${say("playFrom")}: ${length(line.start_s)}`,
        onclick: () => playFrom(call.id, line.start_s, call.customer),
      },
      length(line.start_s),
    ),
    h(
      "div.words",
      {},
      h("span.speaker", {}, name(line.channel)),
      h(
        "p",
        {},
        line.words.length ? words(line, weightsOf(line, call)) : highlighted(line.text, weightsOf(line, call)),
      ),
      line.heard && h("p.quiet", {}, say("heardAs", tidy(line.heard))),
      line.labels.length > 0 &&
        h(
          "p.labels",
          {},
          line.labels.map((one) =>
            h("span.chip", { title: say("probability") }, `${name(one.label)} ${percent(one.probability)}`),
          ),
        ),
    ),
  );
}

/** The words as they can be followed; the spaces between Chinese words are the recogniser's, not the speaker's. */
function words(line, weights) {
  const strength = strengths(tidy(line.words.map((word) => word.text).join(" ")), weights);
  let at = 0;
  return line.words.flatMap((word, index) => {
    const gap = index > 0 && tidy(`${line.words[index - 1].text} ${word.text}`).includes(" ") ? " " : "";
    const level = Math.max(...strength.slice(at + gap.length, (at += gap.length + word.text.length)));
    const unsure = word.confidence < UNSURE;
    return [
      gap,
      h(
        `${level ? `mark.w${level}` : "span"}${unsure ? ".unsure" : ""}`,
        { "data-from": word.start_s, title: unsure ? percent(word.confidence) : null },
        word.text,
      ),
    ];
  });
}

/** What weighed in a line, by the cards that came of it. */
function weightsOf(line, call) {
  const pieces = call.cards.flatMap((card) => card.evidence);
  return pieces
    .filter((piece) => piece.kind === "spoken" && piece.channel === line.channel && piece.start_s === line.start_s)
    .flatMap((piece) => piece.weights);
}

/** Who spoke when, a lane for each channel, with a dot where something to do came from. */
function timeline(call) {
  const at = (second) => `${(100 * second) / seconds(call)}%`;
  const lanes = call.channels.map((channel, index) => ({ channel, y: 4 + index * 18, side: index % 2 ? "b" : "a" }));
  const height = 4 + lanes.length * 18;
  const drawing = svg(
    "svg",
    { width: "100%", height, role: "img", "aria-label": say("timeline") },
    lanes.map((lane) => svg("line.rail", { x1: 0, x2: "100%", y1: lane.y + 7, y2: lane.y + 7 })),
    call.transcript.map((line) => {
      const lane = lanes.find((one) => one.channel === line.channel) ?? lanes[0];
      return svg(
        `rect.turn.${lane.side}`,
        { x: at(line.start_s), width: at(Math.max(0.2, line.end_s - line.start_s)), y: lane.y, height: 14, rx: 2 },
        svg("title", {}, `${length(line.start_s)} ${tidy(line.text)}`),
      );
    }),
    call.cards
      .flatMap((card) => card.evidence)
      .filter((piece) => piece.kind === "spoken")
      .map((piece) => {
        const lane = lanes.find((one) => one.channel === piece.channel) ?? lanes[0];
        return svg("circle.told", { cx: at((piece.start_s + piece.end_s) / 2), cy: lane.y + 7, r: 3.5 });
      }),
    svg("line.playhead", { y1: 0, y2: height, x1: 0, x2: 0, visibility: "hidden" }),
  );
  drawing.addEventListener("click", (event) => {
    const box = drawing.getBoundingClientRect();
    playFrom(call.id, ((event.clientX - box.left) / box.width) * call.duration_s, call.customer);
  });
  return h(
    "div",
    {},
    h(
      "div.lanes",
      { "aria-hidden": "true" },
      lanes.map((lane) => h(`span.${lane.side}`, {}, name(lane.channel))),
    ),
    drawing,
  );
}

function figures(call) {
  const talk = call.talk;
  if (!talk) return h("p.quiet", {}, say("noTalk"));
  const share = h(
    "div.share",
    { role: "img", "aria-label": say("talkShare") },
    call.channels.map((channel, index) => {
      const part = h(`span.${index % 2 ? "b" : "a"}`, {}, `${name(channel)} ${percent(talk.talk_share[channel] ?? 0)}`);
      part.style.flexGrow = talk.talk_share[channel] ?? 0;
      return part;
    }),
  );
  const facts = [
    ...Object.entries(talk.words_per_minute).map(([channel, rate]) => [
      say("wordsPerMinute", name(channel)),
      Math.round(rate),
    ]),
    [say("pauses"), talk.pauses],
    [say("longestPause"), `${talk.longest_pause_s.toFixed(1)} s`],
    [say("overlap"), `${talk.overlap_s.toFixed(1)} s`],
  ];
  return h(
    "div.box.pad",
    {},
    share,
    h(
      "dl.facts",
      {},
      facts.map(([key, value]) => [h("dt", {}, key), h("dd.mono", {}, String(value))]),
    ),
  );
}
