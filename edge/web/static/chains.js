// The best chain: which steps about a subject, done in time, raise the odds of its goal most.

import { h } from "./dom.js";
import { gatewayNow } from "./gateway.js";
import { isOpen, questionOf, state } from "./state.js";
import { inLanguage, name, odds, oddsBetween, say, span } from "./words.js";

const current = () => state.chains.filter((chain) => chain.until > gatewayNow());

/** The chain that begins with a step of a play that was called; undefined: there is none, or its time is over. */
export const chainFor = (decisionId) => current().find((chain) => homeOf(chain) === decisionId);

const homeOf = (chain) => state.cards.get(chain.steps[0].card_id)?.decision_id ?? chain.decision_id;

/** By card its place in the chain that it belongs to. */
export function placesInChains() {
  return new Map(
    current().flatMap((chain) =>
      chain.steps.map((step, index) => [
        step.card_id,
        { number: index + 1, count: chain.steps.length, proven: step.proven, until: chain.until },
      ]),
    ),
  );
}

/** What it is best to do now, how much it helps, and how much time there is. Every figure is the chain's own. */
export function banner(chain) {
  const these = say(`these${chain.steps.length}`);
  const after = [odds(chain.after), oddsBetween(chain.low, chain.high)];
  const promise = say("chainSays", odds(chain.before), these, span(chain.within_minutes), ...after);
  return h(
    "section.chain",
    { "data-until": chain.until, "aria-label": say("bestChain") },
    h("p.promise", {}, promise),
    h("p.quiet", {}, h("span.amount"), ` ${say("left")} · `, questionOf(chain.goal)),
    h("ol.plain", {}, chain.steps.map(stepElement)),
  );
}

function stepElement(step, index) {
  return h(
    `li${isOpen(step) ? "" : ".settled"}`,
    {},
    h("span.badge", { "aria-hidden": "true" }, String(index + 1)),
    h("button.link", { onclick: () => toCard(step.card_id) }, inLanguage(step.what)),
    h(
      "span.quiet",
      {},
      [name(step.role), span(step.minutes), !isOpen(step) && say(step.state === "done" ? "doneState" : step.state)]
        .filter(Boolean)
        .join(" · "),
    ),
    !step.proven && h("span.chip.unproven", { title: say("unprovenHint") }, say("unproven")),
  );
}

function toCard(id) {
  const card = document.querySelector(`.card[data-key="${id}"]`);
  card?.focus({ preventScroll: true });
  card?.scrollIntoView({ block: "center" });
}
