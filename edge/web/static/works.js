// What works: what came of decisions, as people tell it; what each play was shown to do; what moves the goals.

import { ask, person } from "./answers.js";
import { h, keep, notice } from "./dom.js";
import { difference, verdictChip } from "./effect.js";
import { get, post } from "./gateway.js";
import { put, questionOf, state } from "./state.js";
import { clock, inLanguage, name, percent, say } from "./words.js";

const AGAIN_MS = 1000;
const TOLD_SHOWN = 10;

/** The view of what works. */
export function show(main) {
  const asked = h("ul.plain.stack");
  const nothing = h("div.empty", { hidden: true }, h("h3", {}, say("noWanted")), h("p", {}, say("noWantedHint")));
  const told = h("ul.plain.box");
  const toldLately = h("details", { hidden: true }, h("summary.quiet", {}, say("toldLately")), told);
  const plays = h("ul.plain.stack");
  const goals = h("div.stack");
  main.replaceChildren(
    h(
      "div.page.works",
      {},
      h("h1.unseen", {}, say("works")),
      section("wanted", "wantedHint", nothing, asked, toldLately),
      section("drivers", null, goals),
      section("worksPlays", "worksPlaysHint", plays),
    ),
  );

  let timer = null;
  let gone = false;

  async function read() {
    timer = null;
    try {
      const answers = await Promise.all(
        ["/api/outcomes/wanted", `/api/outcomes?limit=${3 * TOLD_SHOWN}`, "/api/plays", "/api/drivers"].map(get),
      );
      if (!gone) draw(...answers);
    } catch (error) {
      if (state.connected) notice(error.message, "error");
    }
  }

  function draw(wanted, outcomes, rows, reports) {
    state.plays = new Map(rows.map((row) => [row.play, row]));
    nothing.hidden = wanted.length > 0;
    // What is asked does not change: a percentage that somebody is writing stays.
    keep(asked, wanted.map((one) => ({ key: one.decision_id, stamp: "", one })), ({ one }) => wantedElement(one));
    const lately = newestOfEach(outcomes).slice(0, TOLD_SHOWN);
    toldLately.hidden = lately.length === 0;
    keep(told, lately.map((one) => ({ key: one.decision_id, stamp: one.id, one })), ({ one }) => toldElement(one));
    drawPlays();
    keep(
      goals,
      reports.map((report) => ({ key: report.goal, stamp: JSON.stringify(report), report })),
      ({ report }) => goalElement(report),
    );
  }

  function drawPlays() {
    keep(
      plays,
      [...state.plays.values()]
        .sort((a, b) => rank(a) - rank(b))
        .map((row) => ({ key: row.play, stamp: JSON.stringify(row), row })),
      ({ row }) => playElement(row),
    );
  }

  const update = (kind) => {
    if (kind === "play") drawPlays();
    if (["all", "outcome", "play"].includes(kind)) timer ??= setTimeout(read, AGAIN_MS);
  };
  read();
  return {
    title: say("works"),
    update,
    key,
    leave: () => {
      gone = true;
      clearTimeout(timer);
    },
  };
}

function section(title, hint, ...parts) {
  return h("section", {}, h("h2", {}, say(title)), hint && h("p.quiet", {}, say(hint)), ...parts);
}

// ---- what came of it -------------------------------------------------------------------------------------------------

/** A question; it is the same whether the subject was treated or left alone, and nothing here tells which. */
function wantedElement(one) {
  const question = questionOf(one.goal);
  return h(
    "li.wanted.box.pad",
    { tabindex: 0, "aria-label": `${one.subject}: ${question}` },
    h(
      "div",
      {},
      h("h3", {}, question),
      h(
        "p.meta",
        {},
        h("strong", {}, one.subject),
        h("span", {}, inLanguage(one.title)),
        h("span", {}, clock(one.at)),
        h("span", {}, say("askedUntil", clock(one.until))),
      ),
      one.said && h("q.said", {}, one.said),
    ),
    answers(one.decision_id, Object.keys(KEYS)),
  );
}

function toldElement(one) {
  return h(
    "li.wanted.pad",
    {},
    h(
      "div",
      {},
      h("p", {}, h("strong", {}, one.subject), ` · ${questionOf(one.goal)}`),
      h(
        "p.meta",
        {},
        h("strong", {}, say("outcomeIs", percent(one.value))),
        h("span", {}, `${say("by")} ${one.by}`),
        h("span", {}, clock(one.at)),
        one.remark && h("span", {}, one.remark),
        one.excluded && h("span.again", {}, say("excluded", one.excluded)),
      ),
    ),
    h("details.correct", {}, h("summary.quiet", {}, say("correct")), answers(one.decision_id)),
  );
}

/** Yes, no, or how far, the first two with their keys if they have some; the name is asked for if it is not known. */
function answers(decisionId, keys = []) {
  const field = h("input.percent", {
    type: "number",
    min: 0,
    max: 100,
    step: "any",
    required: true,
    inputmode: "decimal",
    "aria-label": say("percentReached"),
    placeholder: "%",
  });
  const buttons = h(
    "div.moves",
    {},
    answerButton("yes", 1, keys[0]),
    answerButton("no", 0, keys[1]),
    h(
      "form.far",
      {
        onsubmit: (event) => {
          event.preventDefault();
          begin(field.valueAsNumber / 100, field);
        },
      },
      field,
      h("button", { type: "submit" }, say("tell")),
    ),
  );

  function answerButton(word, value, hint) {
    return h(
      "button",
      { "data-part": word, onclick: (event) => begin(value, event.currentTarget) },
      name(word),
      hint && h("kbd", { "aria-hidden": "true" }, hint.toUpperCase()),
    );
  }

  function begin(value, back) {
    if (person()) tell(decisionId, value);
    else ask(buttons, { word: say("confirm"), back }, () => tell(decisionId, value));
  }

  return buttons;
}

async function tell(decisionId, value) {
  try {
    const outcome = await post("/api/outcomes", { decision_id: decisionId, value, by: person() });
    notice(outcome.excluded ? say("excluded", outcome.excluded) : say("outcomeTold"));
    const row = document.querySelector(`.wanted[data-key="${decisionId}"][tabindex]`);
    const next = row?.nextElementSibling ?? row?.previousElementSibling;
    if (row?.contains(document.activeElement)) next?.focus();
    row?.remove();
    put("outcome", outcome);
    return true;
  } catch (error) {
    notice(error.message, "error");
    return false;
  }
}

const newestOfEach = (outcomes) => {
  const seen = new Set();
  return outcomes.filter((one) => !seen.has(one.decision_id) && seen.add(one.decision_id));
};

const KEYS = { y: "yes", n: "no" };

/** j and k walk through the questions; y and n answer the one that has the focus. */
function key(event) {
  const rows = [...document.querySelectorAll(".wanted[tabindex]")];
  const at = rows.indexOf(document.activeElement.closest(".wanted"));
  if (event.key === "j" || event.key === "k") {
    rows[Math.min(rows.length - 1, Math.max(0, at + (event.key === "j" || at < 0 ? 1 : -1)))]?.focus();
  } else if (KEYS[event.key] && at >= 0) rows[at].querySelector(`[data-part="${KEYS[event.key]}"]`)?.click();
  else return;
  event.preventDefault();
}

// ---- plays -----------------------------------------------------------------------------------------------------------

const rank = (row) => (row.state === "paused" ? 0 : row.effect ? 1 : row.share > 0 ? 2 : row.goal ? 3 : 4);

function playElement(row) {
  const paused = row.state === "paused";
  return h(
    "li.tried.box.pad",
    { "aria-label": inLanguage(row.title) },
    h(
      "header.head",
      {},
      h("h3", {}, inLanguage(row.title)),
      paused && h("span.chip.state.paused", {}, say("paused")),
      row.effect && verdictChip(row.effect.verdict),
      changing(row),
    ),
    h(
      "p.meta",
      {},
      h("span", {}, name(row.label)),
      inLanguage(row.question) && h("span", {}, inLanguage(row.question)),
      h("span", {}, shareWord(row)),
    ),
    paused &&
      h(
        "p.why",
        {},
        row.by === "gateway"
          ? say("pausedAsHarmful", clock(row.since), row.remark)
          : [say("pausedBy", name(row.by), clock(row.since)), row.remark].filter(Boolean).join(say("colon")),
      ),
    row.goal && !row.safety && h("div.shown", {}, counts(row), effect(row.effect)),
    row.steps.filter((step) => step.effect || step.share > 0).map(stepElement),
  );
}

function shareWord(row) {
  if (row.safety) return say("neverLeftAlone");
  return row.goal ? say("leftAloneShare", percent(row.share)) : say("notMeasured");
}

/** How many there were, in total only: of a single subject nothing is told. */
function counts({ decisions, effect: shown }) {
  const arms = [
    ["treatedArm", decisions.treatment ?? 0, shown?.treated ?? 0],
    ["controlArm", decisions.control ?? 0, shown?.held_out ?? 0],
    ...(decisions.paused ? [["pausedArm", decisions.paused, "–"]] : []),
  ];
  const head = ["", say("decisionsMade"), say("outcomesTold")];
  return h(
    "table.compared",
    {},
    h("thead", {}, h("tr", {}, head.map((word) => (word ? h("th", { scope: "col" }, word) : h("td"))))),
    h(
      "tbody",
      {},
      arms.map(([arm, ...numbers]) =>
        h("tr", {}, h("th", { scope: "row" }, say(arm)), numbers.map((number) => h("td", {}, String(number)))),
      ),
    ),
  );
}

function effect(shown) {
  if (!shown) return h("p.quiet", {}, say("noEffect"));
  return h(
    "div",
    {},
    difference(shown.mean, shown.low, shown.high, shown.verdict),
    shown.verdict === "suspect" && h("p.why", {}, say("suspectHint")),
    shown.without !== null && h("p.quiet", {}, say("without", percent(shown.without))),
  );
}

function stepElement(step) {
  return h(
    "div.step",
    {},
    h(
      "p",
      {},
      h("span.quiet", {}, `${name(step.role)} · `),
      inLanguage(step.what),
      h("span.quiet", {}, ` · ${say("leftAloneShare", percent(step.share))} `),
      step.effect && verdictChip(step.effect.verdict),
    ),
    effect(step.effect),
  );
}

/** Letting a play run again is asked for with a name only; pausing asks why, too. */
function changing(row) {
  const [verb, word, hint] =
    row.state === "paused" ? ["resume", say("resumePlay"), ""] : ["pause", say("pausePlay"), say("whyPause")];
  const send = async (remark) => {
    try {
      put("play", await post(`/api/plays/${encodeURIComponent(row.play)}/${verb}`, { by: person(), remark }));
      return true;
    } catch (error) {
      notice(error.message, "error");
      return false;
    }
  };
  const button = h(
    "button",
    { "data-part": verb, onclick: () => (person() && !hint ? send("") : ask(moves, { word, hint, back: button }, send)) },
    word,
  );
  const moves = h("div.moves", {}, button);
  return moves;
}

// ---- what moves the goals --------------------------------------------------------------------------------------------

/** What drawn hold-outs show stands apart from what only goes along: the second is no evidence of a cause. */
function goalElement(report) {
  return h(
    "article.goal.box.pad",
    {},
    h(
      "header.head",
      {},
      h("h3", {}, inLanguage(report.question) || name(report.goal)),
      h("span.quiet", {}, say("outcomesCount", report.outcomes)),
    ),
    h(
      "div.drivers",
      {},
      column("moved", "movedHint", report.moved.map(driverElement)),
      column("tried", null, report.unproven.map(driverElement)),
      column("goesAlong", "goesAlongHint", report.goes_along.map(alongElement)),
    ),
  );
}

function column(title, hint, items) {
  return h(
    `section.${title}`,
    {},
    h("h4", {}, say(title)),
    hint && h("p.quiet", {}, say(hint)),
    h("ul.plain", {}, items.length ? items : h("li.quiet", {}, say("none"))),
  );
}

function driverElement(driver) {
  const { effect: shown } = driver;
  return h(
    "li",
    {},
    h("p", {}, h("strong", {}, stepTitle(driver.play, driver.step)), " ", verdictChip(shown.verdict)),
    difference(shown.mean, shown.low, shown.high, shown.verdict),
  );
}

function alongElement(one) {
  return h(
    "li",
    {},
    h("p", {}, h("strong", {}, feature(one.feature)), " ", h("span.quiet", {}, say("counts", one.having, one.lacking))),
    difference(one.difference, one.low, one.high),
  );
}

/** A label that was heard, or `play/step done`. */
function feature(raw) {
  const [, play, step] = raw.match(/^(.+)\/(.+) done$/) ?? [];
  return play ? say("stepDone", stepTitle(play, step)) : name(raw);
}

/** A step by its name or number, within its play. */
function stepTitle(play, step) {
  const row = state.plays.get(play);
  const found = row?.steps.find((one, index) => one.name === step || String(index + 1) === step);
  return [row ? inLanguage(row.title) : name(play), step && (found ? inLanguage(found.what) : name(step))]
    .filter(Boolean)
    .join(" · ");
}
