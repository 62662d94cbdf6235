// Draws series of readings: a small line for a list, and a chart with axes, marks and a reading under the pointer.

import { h, svg } from "./dom.js";
import { clock, name, number, percent, say, sensor, tickTime } from "./words.js";

const GAP = 8; // so many times the usual distance between two readings is a gap in the line
const LEFT = 46,
  RIGHT = 10,
  TOP = 16,
  BOTTOM = 20;

/** A line without axes, as wide as its place; `points` are [µs, value]. */
export function sparkline(points, height = 28) {
  const [low, high] = extent(points);
  const first = points[0][0],
    span = Math.max(1, points.at(-1)[0] - first);
  const x = (at) => (100 * (at - first)) / span;
  const y = (value) => height - 2 - ((height - 4) * (value - low)) / (high - low);
  return svg(
    "svg.spark",
    { viewBox: `0 0 100 ${height}`, preserveAspectRatio: "none", height, "aria-hidden": "true" },
    svg("path.line", { d: path(points, x, y), "vector-effect": "non-scaling-stroke" }),
  );
}

/** A sensor's chart. `marks` are the predictions on it, `usual` its usual value if it is known. */
export function chart(raw, points, marks, usual, range) {
  const [label, unit] = sensor(raw);
  const place = h("div.plot");
  const readout = h("span.mono");
  const values = points.map(([, value]) => value);
  const newest = `${number(values.at(-1))} ${unit}`;
  const spoken =
    say("chart", label, points.length, number(Math.min(...values)), number(Math.max(...values)), newest) +
    (marks.length ? say("marked", marks.length) : "");
  readout.textContent = newest;
  const draw = () =>
    place.replaceChildren(
      drawing(place.clientWidth, 168, points, marks, usual, range, spoken, (point) => {
        readout.textContent = point ? `${clock(point[0], true)}  ${number(point[1])} ${unit}` : newest;
      }),
    );
  new ResizeObserver(draw).observe(place);
  return h(
    "figure.chart",
    {},
    h(
      "figcaption",
      {},
      h("strong", {}, label),
      h("span.quiet", {}, unit),
      usual !== null && h("span.key.quiet", {}, `${say("usual")} ${number(usual)}`),
      readout,
    ),
    place,
  );
}

function drawing(width, height, points, marks, usual, [first, last], spoken, tell) {
  if (width < LEFT + RIGHT + 20) return "";
  const ticks = steps(...extent(usual === null ? points : [...points, [0, usual]]));
  const low = ticks[0],
    high = ticks.at(-1);
  const x = (at) => LEFT + ((width - LEFT - RIGHT) * (at - first)) / Math.max(1, last - first);
  const y = (value) => TOP + (height - TOP - BOTTOM) * (1 - (value - low) / (high - low));
  const cursor = svg(
    "g",
    { visibility: "hidden" },
    svg("line.cursor", { y1: TOP, y2: height - BOTTOM }),
    svg("circle.point", { r: 3.5 }),
  );
  const times = hours(first, last, Math.floor((width - LEFT) / 90));
  const picture = svg(
    "svg",
    { width, height, role: "img", "aria-label": spoken },
    ticks.map((value) => [
      svg("line.grid", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      svg("text.tick", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, short(value, ticks[1] - ticks[0])),
    ]),
    times.map((at) =>
      svg("text.tick", { x: x(at), y: height - 5, "text-anchor": "middle" }, tickTime(at, times[1] - times[0] || 0)),
    ),
    usual !== null && svg("line.usual", { x1: LEFT, x2: width - RIGHT, y1: y(usual), y2: y(usual) }),
    marks.map((mark) => svg("line.mark", { x1: x(mark.at), x2: x(mark.at), y1: TOP, y2: height - BOTTOM })),
    svg("path.line", { d: path(points, x, y) }),
    marks.map((mark) => {
      const point = nearest(points, mark.at);
      const leftwards = x(mark.at) > width - 130;
      return [
        svg("circle.mark", { cx: x(mark.at), cy: y(point[1]), r: 4.5 }),
        svg(
          "text.mark",
          { x: x(mark.at) + (leftwards ? -7 : 7), y: 11, "text-anchor": leftwards ? "end" : "start" },
          `${name(mark.label)} ${percent(mark.probability)}`,
        ),
      ];
    }),
    cursor,
  );
  picture.addEventListener("pointermove", (event) => {
    const at =
      first + ((event.clientX - picture.getBoundingClientRect().left - LEFT) / (width - LEFT - RIGHT)) * (last - first);
    const point = nearest(points, at);
    cursor.setAttribute("visibility", "visible");
    for (const end of ["x1", "x2"]) cursor.firstChild.setAttribute(end, x(point[0]));
    cursor.lastChild.setAttribute("cx", x(point[0]));
    cursor.lastChild.setAttribute("cy", y(point[1]));
    tell(point);
  });
  picture.addEventListener("pointerleave", () => {
    cursor.setAttribute("visibility", "hidden");
    tell(null);
  });
  return picture;
}

function path(points, x, y) {
  const distances = points
    .slice(1)
    .map(([at], index) => at - points[index][0])
    .sort((a, b) => a - b);
  const gap = GAP * (distances[Math.floor(distances.length / 2)] ?? 0);
  return points
    .map(([at, value], index) => {
      const broken = index === 0 || at - points[index - 1][0] > gap;
      return `${broken ? "M" : "L"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    })
    .join("");
}

function extent(points) {
  const values = points.map(([, value]) => value);
  const low = Math.min(...values),
    high = Math.max(...values);
  return low === high ? [low - 1, high + 1] : [low, high];
}

/** Three to six round numbers around a range. */
function steps(low, high) {
  const rough = (high - low) / 3;
  const size = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((one) => one * size >= rough) * size;
  const first = Math.floor(low / step);
  return Array.from({ length: Math.ceil(high / step) - first + 1 }, (_, index) => (first + index) * step);
}

const MINUTE = 6e7;
const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880].map((minutes) => minutes * MINUTE);

/** Round times of day within a range, at most `most` of them. */
function hours(first, last, most) {
  const step = TIME_STEPS.find((one) => (last - first) / one <= Math.max(1, most)) ?? last - first;
  const zone = new Date(last / 1000).getTimezoneOffset() * MINUTE;
  const start = Math.ceil((first - zone) / step) * step + zone;
  return Array.from({ length: Math.floor((last - start) / step) + 1 }, (_, index) => start + index * step);
}

const short = (value, step) =>
  value.toFixed(Math.max(0, Math.min(3, Math.ceil(-Math.log10(step)) + (String(step).includes("25") ? 1 : 0))));

function nearest(points, at) {
  return points.reduce((best, point) => (Math.abs(point[0] - at) < Math.abs(best[0] - at) ? point : best));
}
