// Builds elements, and keeps those whose record did not change, so that focus, selection and sound survive an update.

const SVG = "http://www.w3.org/2000/svg";

/** An element: `h("button.plain", {onclick, "aria-label": "…"}, "text", child, null)`. */
export function h(name, attributes, ...children) {
  return make((tag) => document.createElement(tag), name, attributes, children);
}

/** The same for SVG. */
export function svg(name, attributes, ...children) {
  return make((tag) => document.createElementNS(SVG, tag), name, attributes, children);
}

function make(create, name, attributes, children) {
  const [tag, ...classes] = name.split(".");
  const element = create(tag);
  if (classes.length) element.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Puts the items' elements into `parent`, in order. An element is built again only when its item's `stamp` changed. */
export function keep(parent, items, build) {
  const before = parent.kept ?? new Map();
  const focused = before.size ? focusWithin(parent) : null;
  parent.kept = new Map();
  for (const item of items) {
    const old = before.get(item.key);
    const entry = old?.stamp === item.stamp ? old : { stamp: item.stamp, element: build(item) };
    entry.element.dataset.key = item.key;
    parent.kept.set(item.key, entry);
  }
  const elements = [...parent.kept.values()].map((entry) => entry.element);
  for (const child of [...parent.children]) if (!elements.includes(child)) child.remove();
  elements.forEach((element, index) => {
    if (parent.children[index] !== element) parent.insertBefore(element, parent.children[index] ?? null);
  });
  if (focused) restoreFocus(parent, focused);
}

function focusWithin(parent) {
  const active = document.activeElement;
  const holder = parent.contains(active) ? active.closest("[data-key]") : null;
  return holder && parent.contains(holder) ? { key: holder.dataset.key, part: active.dataset.part } : null;
}

function restoreFocus(parent, { key, part }) {
  if (parent.contains(document.activeElement)) return;
  const element = parent.kept.get(key)?.element;
  const target = part ? element?.querySelector(`[data-part="${part}"]`) : element;
  (target ?? element)?.focus({ preventScroll: true });
}

/** Says something in the corner for a while; an error stays longer. */
export function notice(text, kind = "info") {
  const line = h(`p.notice.${kind}`, {}, text);
  document.getElementById("notices").append(line);
  setTimeout(() => line.remove(), kind === "error" ? 9000 : 4000);
}

const ICONS = {
  play: "M8 5v14l11-7z",
  pause: "M7 5h4v14H7zM13 5h4v14h-4z",
  call: "M6.6 10.8a15 15 0 0 0 6.6 6.6l2.2-2.2a1 1 0 0 1 1-.25 11.4 11.4 0 0 0 3.6.57 1 1 0 0 1 1 1V20a1 1 0 0 1-1 1A17 17 0 0 1 3 4a1 1 0 0 1 1-1h3.5a1 1 0 0 1 1 1c0 1.25.2 2.45.57 3.57a1 1 0 0 1-.25 1z",
  reading: "M3 12h4l3-8 4 16 3-8h4v2h-2.6l-4.5 11-4-16-1.5 5H3z",
  note: "M5 3h10l5 5v13H5zm9 1.5V9h4.5zM8 12v1.5h8V12zm0 4v1.5h8V16z",
  close: "M6.4 5 12 10.6 17.6 5 19 6.4 13.4 12 19 17.6 17.6 19 12 13.4 6.4 19 5 17.6 10.6 12 5 6.4z",
};

/** A small picture beside a word; it says nothing by itself. */
export function icon(name) {
  return svg("svg.icon", { viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}
