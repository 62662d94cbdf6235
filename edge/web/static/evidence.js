// Why: the words that made a prediction, highlighted by their weight, what was known beside them, or the reading and
// the features that weighed.

import { h, icon } from "./dom.js";
import { playFrom } from "./player.js";
import { name, number, say, sensor, tidy } from "./words.js";

const LEAD_S = 2;
const LEVELS = 4;

/** The element for one piece of a card's evidence. */
export function evidence(piece, card) {
  if (piece.kind === "known") return known(piece);
  return piece.kind === "spoken" ? spoken(piece, card) : measured(piece);
}

/** What was known beside the words: a cell of a table, what another pack says, a name. */
function known(piece) {
  const what = piece.of ? say("knownOf", name(piece.what), piece.of) : name(piece.what);
  return h(
    "div.evidence.known",
    {},
    h("span.speaker", {}, what),
    " ",
    h("strong.mono", {}, ["yes", "no"].includes(piece.value) ? name(piece.value) : piece.value),
    piece.source && h("span.quiet", {}, ` · ${name(piece.source)}`),
  );
}

function spoken(piece, card) {
  const quote = h("q.said", {}, highlighted(piece.text, piece.weights));
  if (card.event_kind !== "call") return h("div.evidence", {}, h("div.quote", {}, quote));
  const hear = h(
    "button.hear",
    {
      "data-part": "hear",
      title: say("hear"),
      "aria-label": `${say("hear")}: ${piece.start_s.toFixed(1)} s`,
      onclick: () => playFrom(piece.event_id, piece.start_s - LEAD_S, card.subject),
    },
    icon("play"),
    h("span.mono", {}, `${piece.start_s.toFixed(1)} s`),
  );
  return h("div.evidence", {}, hear, h("div.quote", {}, h("span.speaker", {}, name(piece.channel)), " ", quote));
}

/** The text with every part that weighed marked; the strongest marks are the darkest. */
export function highlighted(text, weights) {
  const shown = tidy(text);
  const strength = strengths(shown, weights);
  const pieces = [];
  for (let start = 0, end = 0; start < shown.length; start = end) {
    while (end < shown.length && strength[end] === strength[start]) end += 1;
    const piece = shown.slice(start, end);
    pieces.push(strength[start] ? h(`mark.w${strength[start]}`, {}, piece) : piece);
  }
  return pieces;
}

/** For every letter of a text how much it weighed: 0 for not at all, up to 4. */
export function strengths(shown, weights) {
  const strength = new Array(shown.length).fill(0);
  const most = Math.max(...weights.map(([, weight]) => weight), 0);
  for (const [part, weight] of weights) {
    if (weight <= 0) continue;
    const level = Math.max(1, Math.ceil((LEVELS * weight) / most));
    for (const [start, end] of places(shown, tidy(part))) {
      for (let index = start; index < end; index += 1) strength[index] = Math.max(strength[index], level);
    }
  }
  return strength;
}

/** Where a part stands in a text: as whole words if it does, anywhere otherwise. */
function places(text, part) {
  const found = [];
  const needle = part.trim().toLowerCase();
  if (!needle) return found;
  const hay = text.toLowerCase();
  for (let at = hay.indexOf(needle); at >= 0; at = hay.indexOf(needle, at + 1)) found.push([at, at + needle.length]);
  const isWord = (character) => character !== undefined && /[\p{Script=Latin}\d']/u.test(character);
  const whole = found.filter(
    ([start, end]) => !(isWord(hay[start - 1]) && isWord(hay[start])) && !(isWord(hay[end]) && isWord(hay[end - 1])),
  );
  return whole.length ? whole : found;
}

function measured(piece) {
  const [label, unit] = sensor(piece.sensor);
  const most = Math.max(...piece.weights.map(([, weight]) => Math.abs(weight)), 1e-9);
  return h(
    "div.evidence.measured",
    {},
    h(
      "p",
      {},
      h("span.speaker", {}, label),
      " ",
      h("strong.mono", {}, `${number(piece.value)} ${unit}`),
      h("span.quiet", {}, ` · ${say("usual")} ${number(piece.usual)} ${unit}`),
    ),
    piece.weights.length > 0 &&
      h(
        "ul.weights",
        { "aria-label": say("weighed") },
        piece.weights.map(([feature, weight]) => bar(feature, weight, most)),
      ),
  );
}

function bar(feature, weight, most) {
  const fill = h(`span.fill${weight < 0 ? ".against" : ""}`);
  fill.style.inlineSize = `${(100 * Math.abs(weight)) / most}%`;
  return h(
    "li",
    {},
    h("span.feature", {}, name(feature)),
    h("span.track", {}, fill),
    h("span.mono", {}, `${weight > 0 ? "+" : ""}${weight.toFixed(1)}`),
  );
}
