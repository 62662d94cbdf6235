// What to do now: by play what called for it and why, and its cards (one for each step); what people answer to them,
// and the keys for it.

import { ask, person } from "./answers.js";
import { glance } from "./aside.js";
import { banner, chainFor, placesInChains } from "./chains.js";
import { h, icon, keep, notice } from "./dom.js";
import { evidence } from "./evidence.js";
import { gatewayNow, get, post } from "./gateway.js";
import { isOpen, put, state } from "./state.js";
import { clock, inLanguage, name, percent, say, stretch, tidy } from "./words.js";

const SETTLED_SHOWN = 12;
const SOON_S = 120;
const STATE_WORDS = { done: "doneState" };

/** The view of all cards. */
export function show(main) {
  const decide = section("toDecide");
  const under = section("underWay");
  const settled = section("settled");
  const nothing = h("div.empty", {}, h("h2", {}, say("noCards")), h("p", {}, say("noCardsHint")));
  const keys = h("p.keys.quiet", {}, say("keys"));
  const list = h("div.cards", {}, h("h1.unseen", {}, say("cards")), nothing, decide, under, settled, keys);
  const side = glance();
  main.replaceChildren(h("div.split", {}, list, side.element));

  const update = (kind) => {
    if (["all", "card", "chain", "play"].includes(kind)) keepPlace(drawCards);
    if (["all", "card", "call", "device"].includes(kind)) side.update();
  };
  const drawCards = () => {
    const plays = byPlay(state.cards.values());
    const proposed = plays.filter((play) => play.cards.some((card) => card.state === "proposed"));
    const working = plays.filter((play) => !proposed.includes(play) && play.cards.some(isOpen));
    const over = plays
      .filter((play) => !play.cards.some(isOpen))
      .sort((a, b) => b.cards.some(undoable) - a.cards.some(undoable) || (a.key < b.key ? 1 : -1));
    fill(decide, proposed, (card) => card.state === "proposed");
    fill(under, working, isOpen);
    fill(settled, over.slice(0, SETTLED_SHOWN), () => true);
    keys.hidden = proposed.length + working.length === 0;
    nothing.hidden = state.site === null || !keys.hidden;
  };
  update("all");
  return { title: say("cards"), update, key };
}

function section(title) {
  return h("section", {}, h("h2", {}, say(title), " ", h("span.count")), h("div.stack"));
}

function fill(part, plays, counts) {
  part.hidden = plays.length === 0;
  part.querySelector(".count").textContent = plays.flatMap((play) => play.cards).filter(counts).length;
  playsInto(part.querySelector(".stack"), plays);
}

/** Cards by the play they are steps of, what is due first on top. */
function byPlay(cards) {
  const plays = new Map();
  for (const card of cards) plays.set(card.decision_id, [...(plays.get(card.decision_id) ?? []), card]);
  // What is under way already stands behind all that is still to be decided.
  const dueOf = (steps) =>
    Math.min(
      ...steps.filter((card) => card.state === "proposed").map((card) => card.due),
      ...steps.filter(isOpen).map((card) => card.due + 1e15),
    );
  return [...plays]
    .map(([key, steps]) => ({ key, cards: steps.sort((a, b) => (a.id < b.id ? -1 : 1)) }))
    .sort((a, b) => dueOf(a.cards) - dueOf(b.cards) || (a.key < b.key ? 1 : -1));
}

/** Puts cards into an element, those of a play together; each is built again only when it changed. */
export function cardsInto(element, cards) {
  playsInto(element, byPlay(cards));
}

function playsInto(element, plays) {
  keep(
    element,
    plays.map((play) => ({ key: play.key, stamp: "", play })),
    ({ play }) => playElement(play.cards[0]),
  );
  const places = placesInChains();
  for (const play of plays) {
    const built = element.kept.get(play.key).element;
    const chain = chainFor(play.key);
    keep(
      built.querySelector(".best"),
      chain ? [{ key: "chain", stamp: JSON.stringify(chain), chain }] : [],
      (item) => banner(item.chain),
    );
    keep(
      built.querySelector(".steps"),
      play.cards.map((card) => {
        const place = places.get(card.id);
        return { key: card.id, stamp: JSON.stringify([card, place]), card, place };
      }),
      ({ card, place }) => cardElement(card, place),
    );
  }
  tick();
}

/** What the steps of a play have in common: why it was called. */
function playElement(card) {
  return h(
    "article.play.box",
    {},
    h(
      "header",
      {},
      h("h3", {}, inLanguage(card.title)),
      h("span.chip", { title: say("probability") }, `${name(card.label)} ${percent(card.probability)}`),
      subjectLink(card),
    ),
    h("div.best"),
    card.evidence.map((piece) => evidence(piece, card)),
    likeBefore(card),
    h("ol.plain.steps"),
  );
}

/** What was like it before, and what was done then; asked for when somebody opens it. */
function likeBefore(card) {
  const list = h("ol.plain");
  const fetched = async () => {
    try {
      const cases = await get(`/api/cards/${card.id}/like`);
      list.replaceChildren(...(cases.length ? cases.map(caseElement) : [h("li.quiet", {}, say("noneLike"))]));
    } catch (error) {
      list.replaceChildren(h("li.quiet", {}, error.message));
    }
  };
  return h(
    "details.like",
    { ontoggle: (event) => event.currentTarget.open && fetched() },
    h("summary", {}, say("likeBefore")),
    list,
  );
}

function caseElement(one) {
  const steps = one.steps.map((step) =>
    [inLanguage(step.what), stateWord(step), step.by && name(step.by), step.remark].filter(Boolean).join(" · "),
  );
  return h(
    "li",
    {},
    h("p", {}, `${clock(one.at)} · ${one.subject} · ${percent(one.likeness)} `, h("q.said", {}, tidy(one.said))),
    h("ul", {}, steps.map((step) => h("li", {}, step))),
  );
}

function cardElement(card, place) {
  const open = isOpen(card);
  const fires = card.state === "proposed" ? card.fires_at : null;
  return h(
    `li.card.${card.state}`,
    { tabindex: 0, "aria-label": `${inLanguage(card.title)}: ${inLanguage(card.what)}` },
    open
      ? h(
          "div.time",
          { "data-due": card.due, "data-from": card.at, "data-fires": fires },
          h("span.amount"),
          " ",
          h("span.word"),
          h("span.track", {}, h("span.fill")),
        )
      : h("div.time", {}, h(`span.chip.state.${card.state}`, {}, stateWord(card))),
    h(
      "div.what",
      {},
      h("p", {}, open && place && badge(place), inLanguage(card.what)),
      h(
        "p.meta",
        {},
        h("strong", {}, name(card.role)),
        channelWord(card),
        inLanguage(card.tool) && h("span", {}, say("withTool", inLanguage(card.tool))),
        open && h("span", {}, `${say("due")} ${clock(card.due)}`),
        card.state === "proposed" && card.asked > 0 && h("span.again", {}, say("askedAgain", card.asked)),
        moved(card),
      ),
    ),
    buttons(card),
    (card.text || (open && card.sheet)) && h("div.more", {}, message(card), open && card.sheet && sheet(card.sheet)),
  );
}

/** Which step of the best chain a card is. */
function badge({ number, count, proven, until }) {
  return h(
    `span.badge${proven ? "" : ".unproven"}`,
    { "data-until": until, title: say("chainStep", number, count) },
    `${number}/${count}${proven ? "" : ` ${say("unproven")}`}`,
  );
}

/** What is said to a customer, and how long it is still held back. */
function message(card) {
  if (!card.text) return null;
  const held = card.channel === "message" && ["accepted", "fired"].includes(card.state) && undoable(card);
  return h(
    "figure.message",
    {},
    h("figcaption", {}, say("messageTo"), card.to && h("strong", {}, ` ${card.to}`)),
    h("blockquote", {}, card.text),
    held && h("p.held", { "data-until": card.undo_until }, say("heldBack", clock(card.undo_until))),
  );
}

function sheet({ name: title, columns, rows }) {
  const cells = (tag, row) => h("tr", {}, row.map((cell) => h(tag, {}, cell)));
  return h(
    "div.scrolled.sheet",
    { tabindex: 0, role: "region", "aria-label": name(title) },
    h(
      "table",
      {},
      h("caption", {}, name(title)),
      h("thead", {}, cells("th", columns)),
      h("tbody", {}, rows.map((row) => cells("td", row))),
    ),
  );
}

const stateWord = (card) => say(STATE_WORDS[card.state] ?? card.state);
const undoable = (card) => card.undo_until > gatewayNow();
const CHANNEL_WORDS = { device: "byDevice", webhook: "byWebhook", message: "byMessage" };

function channelWord(card) {
  return card.channel === "card" ? null : h("span", {}, say(CHANNEL_WORDS[card.channel]));
}

function subjectLink(card) {
  const target = {
    call: `#/calls/${card.event_id}`,
    reading: `#/devices/${encodeURIComponent(card.subject)}`,
    note: "#/notes",
  };
  return h("a.subject", { href: target[card.event_kind] }, icon(card.event_kind), card.subject);
}

function moved(card) {
  if (card.state === "proposed") return null;
  const who = card.by ? `${say("by")} ${name(card.by)}` : null;
  return isOpen(card)
    ? h("span.state", {}, [stateWord(card), who].filter(Boolean).join(" · "))
    : who && h("span", {}, who);
}

// ---- answers -------------------------------------------------------------------------------------------------------

const MOVES = {
  proposed: [
    ["accept", "accept", "a"],
    ["decline", "decline", "d"],
  ],
  accepted: [
    ["done", "done", "f"],
    ["decline", "giveUp", "d"],
  ],
  fired: [["done", "done", "f"]],
};

const AT_ONCE = new Set(["accept", "undo", "hand_over"]); // each can be taken back, or takes something back
const HINTS = { done: "whatCame", decline: "whyDecline" };

/** What people can do with a card now: how the gateway calls it, its word, its key, and until when. */
function movesOf(card) {
  const moves = (MOVES[card.state] ?? []).map(([verb, word, hint]) => ({ verb, word: say(word), hint }));
  if (card.hand_over && card.channel === "card" && ["proposed", "accepted"].includes(card.state))
    moves.push({ verb: "hand_over", word: say("handTo", name(card.hand_over)), hint: "h" });
  if (undoable(card)) moves.push({ verb: "undo", word: say("undo"), hint: "u", until: card.undo_until });
  return moves;
}

function buttons(card) {
  const moves = movesOf(card);
  if (moves.length === 0) return null;
  return h(
    "div.moves",
    {},
    moves.map((one, index) =>
      h(
        `button${index === 0 && isOpen(card) ? ".primary" : ""}`,
        { "data-part": one.verb, "data-until": one.until, onclick: (event) => begin(event.currentTarget, card, one) },
        one.word,
        h("kbd", { "aria-hidden": "true" }, one.hint.toUpperCase()),
      ),
    ),
  );
}

/** What can be taken back is done at once; what is final asks for a word first. */
function begin(button, card, { verb, word }) {
  if (AT_ONCE.has(verb) && person()) move(card, verb, "");
  else {
    const wanted = { word: verb === "accept" ? say("confirm") : word, hint: HINTS[verb] && say(HINTS[verb]) };
    ask(button.closest(".moves"), { ...wanted, back: button }, (remark) => move(card, verb, remark));
  }
}

/** Tells the gateway; true when it agreed. */
async function move(card, verb, remark) {
  try {
    const whose = verb === "undo" ? { mover: card.by } : {}; // and nobody else's who was quicker
    put("card", await post(`/api/cards/${card.id}/${verb}`, { by: person(), remark, ...whose }));
    return true;
  } catch (error) {
    notice(error.status === 409 ? await overtaken(card, error) : error.message, "error");
    return false;
  }
}

/** Why a move was refused: what the card has become meanwhile. */
async function overtaken(card, error) {
  const now = await get(`/api/cards/${card.id}`).catch(() => card);
  put("card", now);
  return say("overtaken", stateWord(now), now.by ? name(now.by) : say("nobody"), error.message);
}

// ---- keys ----------------------------------------------------------------------------------------------------------

const KEYS = { a: "accept", d: "decline", f: "done", h: "hand_over", u: "undo", p: "hear" };

/** j and k walk through the cards; the other keys press the button of the card that has the focus. */
export function key(event) {
  const cards = shown();
  const at = cards.indexOf(document.activeElement.closest(".card"));
  if (event.key === "j" || event.key === "k") {
    const next = cards[Math.min(cards.length - 1, Math.max(0, at + (event.key === "j" || at < 0 ? 1 : -1)))];
    next?.focus();
    next?.scrollIntoView({ block: "nearest" });
  } else if (KEYS[event.key] && at >= 0) {
    const holder = event.key === "p" ? cards[at].closest(".play") : cards[at];
    holder.querySelector(`[data-part="${KEYS[event.key]}"]:not([hidden])`)?.click();
  } else return;
  event.preventDefault();
}

const shown = () => [...document.querySelectorAll(".card")].filter((card) => card.offsetParent !== null);

/** Runs `draw`; when the card with the focus has gone elsewhere by it, the one in its place gets the focus. */
function keepPlace(draw) {
  const at = shown().indexOf(document.activeElement.closest(".card"));
  draw();
  const cards = shown();
  if (at >= 0 && !document.activeElement.closest(".card"))
    cards[Math.min(at, cards.length - 1)]?.focus({ preventScroll: true });
}

// ---- the time left ---------------------------------------------------------------------------------------------------

/** Brings every time left up to now. */
export function tick() {
  const now = gatewayNow();
  for (const element of document.querySelectorAll("[data-due]")) {
    const fires = Number(element.dataset.fires);
    const until = fires || Number(element.dataset.due);
    const from = Number(element.dataset.from);
    const left_s = (until - now) / 1e6;
    const share = Math.min(1, Math.max(0, (until - now) / Math.max(1, until - from)));
    element.querySelector(".amount").textContent = stretch(Math.abs(left_s));
    element.querySelector(".word").textContent = say(left_s < 0 ? "over" : fires ? "firesIn" : "left");
    element.querySelector(".fill").style.inlineSize = `${100 * share}%`;
    element.classList.toggle("soon", left_s < SOON_S || share < 0.2);
    element.classList.toggle("past", left_s < 0);
  }
  for (const element of document.querySelectorAll("[data-until]")) {
    const left_s = (Number(element.dataset.until) - now) / 1e6;
    if (left_s <= 0 && element.contains(document.activeElement)) element.closest(".card")?.focus();
    element.hidden = left_s <= 0;
    const amount = element.querySelector(".amount");
    if (amount) amount.textContent = stretch(Math.max(0, left_s));
  }
}
