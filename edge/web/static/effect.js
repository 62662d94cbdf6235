// A difference in points with its bounds, as a bar from -100 to +100 around zero.

import { h } from "./dom.js";
import { points, say } from "./words.js";

const VERDICT_HINTS = { unproven: "unprovenHint", suspect: "suspectHint" };

/** The bar, and the same in figures. */
export function difference(middle, low, high, verdict = "along") {
  const said = say("effectSays", points(middle), points(low), points(high));
  return h(
    `div.effect.${verdict}`,
    {},
    h(
      "div.scale",
      { role: "img", "aria-label": said },
      placed(h("span.bounds"), low, high),
      h("span.zero"),
      placed(h("span.middle"), middle, middle),
    ),
    h("div.ends", { "aria-hidden": "true" }, ["−100", "0", "+100"].map((end) => h("span", {}, end))),
    h("p.mono", {}, said),
  );
}

/** What was found, in a word. */
export const verdictChip = (verdict) =>
  h(`span.chip.verdict.${verdict}`, { title: VERDICT_HINTS[verdict] && say(VERDICT_HINTS[verdict]) }, say(verdict));

function placed(element, low, high) {
  element.style.insetInlineStart = `${50 * (1 + low)}%`;
  element.style.inlineSize = `${50 * (high - low)}%`;
  return element;
}
