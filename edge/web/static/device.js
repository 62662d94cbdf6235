// One device: a chart for every sensor with what was predicted on it, and what is to be done.

import { score } from "./aside.js";
import { cardsInto } from "./cards.js";
import { chart } from "./chart.js";
import { h } from "./dom.js";
import { get } from "./gateway.js";
import { clock, say } from "./words.js";

const RANGES_H = [1, 6, 24, 168];
const AGAIN_MS = 5000;

/** The view of one device. */
export function show(main, device) {
  let hours = RANGES_H[0];
  let asked = 0;
  let timer = null;
  let known = [];
  const head = h("header.head");
  const charts = h("div.charts");
  const cards = h("div.stack");
  const noCards = h("p.quiet", {}, say("noDeviceCards"));
  const ranges = h(
    "div.ranges",
    { role: "group", "aria-label": say("range") },
    RANGES_H.map((one) =>
      h(
        "button.plain",
        { "data-hours": one, onclick: () => read(one) },
        one < 168 ? `${one} ${say("hours")}` : `7 ${say("day")}`,
      ),
    ),
  );
  main.replaceChildren(
    h(
      "div.page",
      {},
      h("a.quiet", { href: "#/devices" }, `← ${say("devices")}`),
      head,
      ranges,
      h("div.split", {}, charts, h("aside.side", {}, h("section", {}, h("h2", {}, say("cards")), noCards, cards))),
    ),
  );

  async function read(range = hours) {
    hours = range;
    const turn = (asked += 1);
    try {
      const page = await get(`/api/devices/${encodeURIComponent(device)}?hours=${hours}&points=600`);
      if (turn === asked) draw(page);
    } catch (error) {
      head.replaceChildren(h("div.empty", {}, h("h2", {}, say("gone")), h("p", {}, error.message)));
    }
  }

  function draw(page) {
    for (const button of ranges.children)
      button.setAttribute("aria-pressed", String(Number(button.dataset.hours) === hours));
    head.replaceChildren(
      h(
        "div",
        {},
        h("h1", {}, page.device),
        h("p.quiet", {}, `${say("newest")} ${clock(page.at, true)} · ${page.readings} ${say("readings")}`),
      ),
      score(page.score),
    );
    const measured = page.cards.flatMap((card) => card.evidence).filter((piece) => piece.kind === "measured");
    const series = Object.entries(page.series).sort(
      ([a], [b]) => marksOf(page, b).length - marksOf(page, a).length || (a < b ? -1 : 1),
    );
    const first = Math.max(page.at - hours * 3.6e9, Math.min(...series.map(([, points]) => points[0][0])));
    charts.replaceChildren(
      ...(series.length
        ? series.map(([raw, points]) =>
            chart(raw, points, marksOf(page, raw), measured.find((piece) => piece.sensor === raw)?.usual ?? null, [
              first,
              page.at,
            ]),
          )
        : [h("p.quiet", {}, say("noSeries"))]),
    );
    noCards.hidden = page.cards.length > 0;
    known = page.cards;
    cardsInto(cards, known);
  }

  const marksOf = (page, raw) => page.marks.filter((mark) => mark.sensors.length === 0 || mark.sensors.includes(raw));

  const update = (kind, record) => {
    if (kind === "all" || (kind === "card" && record?.subject === device)) read();
    else if (kind === "chain") cardsInto(cards, known);
    else if (kind === "device" && record.some((row) => row.device === device)) {
      timer ??= setTimeout(() => {
        timer = null;
        if (!charts.matches(":hover")) read();
      }, AGAIN_MS);
    }
  };
  read();
  return { title: device, update, leave: () => clearTimeout(timer) };
}
