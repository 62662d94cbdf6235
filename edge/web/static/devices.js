// The devices: how each stands now, with the last hour of every sensor as a small line.

import { score } from "./aside.js";
import { sparkline } from "./chart.js";
import { h, keep } from "./dom.js";
import { gatewayNow, get } from "./gateway.js";
import { isEmpty, state } from "./state.js";
import { age, number, say, sensor } from "./words.js";

const LINES_OF = 24; // devices whose last hour is asked for at once
const POINTS = 120;

/** The view of all devices. */
export function show(main) {
  const tiles = h("div.tiles");
  const nothing = h("div.empty", {}, h("h2", {}, say("noDevices")), h("p", {}, say("noDevicesHint")));
  main.replaceChildren(h("div.page", {}, h("h1", {}, say("devices")), nothing, tiles));
  const series = new Map(); // by device: sensor → points, kept up by the stream

  const draw = () => {
    const rows = [...state.devices.values()].sort(
      (a, b) => (b.score ?? -1) - (a.score ?? -1) || (a.device < b.device ? -1 : 1),
    );
    nothing.hidden = !isEmpty(state.devices);
    keep(
      tiles,
      rows.map((row) => ({ key: row.device, stamp: `${JSON.stringify(row)}${series.has(row.device)}`, row })),
      ({ row }) => tile(row, series.get(row.device)),
    );
  };

  const readHours = async () => {
    const devices = [...state.devices.keys()].filter((device) => !series.has(device)).slice(0, LINES_OF);
    await Promise.all(
      devices.map(async (device) => {
        const page = await get(`/api/devices/${encodeURIComponent(device)}?hours=1&points=${POINTS}`).catch(() => null);
        if (page) series.set(device, page.series);
      }),
    );
    if (devices.length) draw();
  };

  const update = (kind, record) => {
    if (kind === "device") record.forEach((row) => grow(series.get(row.device), row));
    if (kind === "all" || kind === "device") {
      draw();
      readHours();
    }
  };
  draw();
  readHours();
  return { title: say("devices"), update };
}

/** Adds a new reading to the lines of its device, and lets the oldest go. */
function grow(lines, row) {
  for (const [raw, value] of Object.entries(row.values)) {
    const points = lines?.[raw];
    if (!points || points.at(-1)[0] >= row.at) continue;
    points.push([row.at, value]);
    if (points.length > 2 * POINTS) points.shift();
  }
}

function tile(row, lines) {
  return h(
    "a.tile.box",
    { href: `#/devices/${encodeURIComponent(row.device)}` },
    h(
      "header",
      {},
      h("strong", {}, row.device),
      row.cards > 0 && h("span.chip", {}, say("cardsOpen", row.cards)),
      score(row.score),
    ),
    h(
      "ul.plain",
      {},
      Object.entries(row.values).map(([raw, value]) => {
        const [label, unit] = sensor(raw);
        const points = lines?.[raw];
        return h(
          "li.sensor",
          {},
          h("span.quiet", {}, label),
          points?.length > 1 ? sparkline(points) : h("span"),
          h("span.mono", {}, number(value), " ", h("span.quiet", {}, unit)),
        );
      }),
    ),
    h("p.quiet", {}, age((gatewayNow() - row.at) / 1e6), " · ", `${row.readings} ${say("readings")}`),
  );
}
