// What HQ sent and what people brought: each order, how it stands, what it would change, and what people here answer.

import { h, keep, notice } from "./dom.js";
import { get, post, send } from "./gateway.js";
import { isEmpty, newestFirst, put, state } from "./state.js";
import { clock, inLanguage, metric, name, say } from "./words.js";

/** The view of the orders. */
export function show(main) {
  const list = h("ul.plain.stack");
  const nothing = h("div.empty", {}, h("h2", {}, say("noOrders")), h("p", {}, say("noOrdersHint")));
  main.replaceChildren(h("div.page", {}, h("h1", {}, say("orders")), bringing(), packsInUse(), nothing, list));
  const update = (kind) => {
    if (kind !== "all" && kind !== "order") return;
    nothing.hidden = !isEmpty(state.orders);
    keep(
      list,
      newestFirst(state.orders).map((order) => ({ key: order.id, stamp: JSON.stringify(order), order })),
      ({ order }) => orderElement(order),
    );
  };
  update("all");
  return { title: say("orders"), update };
}

function orderElement(order) {
  return h(
    "li.order.box.pad",
    {},
    h(
      "header.head",
      {},
      h("h3", {}, title(order)),
      h(`span.chip.state.${order.state}`, {}, say(`order_${order.state}`)),
      h("span.quiet", {}, `${say("orderSent")} ${clock(order.sent_at)}`),
    ),
    h("p.meta", {}, ...story(order)),
    order.state === "shadow" && comparison(order),
    ["waiting", "shadow"].includes(order.state) && question(order),
    order.state === "active" && order.kind !== "request" && wayBack(order),
  );
}

/** A pack from a file of this computer. */
function bringing() {
  const file = h("input", { type: "file", accept: ".pack", required: true, "aria-label": say("packFile") });
  const by = whoField();
  const button = h("button", { onclick: bring }, say("bringPack"));
  const form = h("form.ask.bring", { onsubmit: (event) => event.preventDefault() }, file, by, button);

  async function bring() {
    if (!form.reportValidity()) return;
    button.disabled = true;
    try {
      put("order", await send(`/api/orders/packs?by=${encodeURIComponent(by.value.trim())}`, file.files[0]));
      form.reset();
    } catch (error) {
      notice(error.message, "error");
    }
    button.disabled = false;
  }

  return h("details.box.pad", {}, h("summary", {}, say("bringPackTitle")), form);
}

/** The packs that predict now, each with what its maker says of it. */
function packsInUse() {
  const place = h("div.stack", {}, h("p.quiet", {}, say("connecting")));
  get("/api/packs").then(
    (packs) => place.replaceChildren(...packs.map(packCard)),
    (error) => place.replaceChildren(h("p.quiet", {}, error.message)),
  );
  return h("section", {}, h("h2", {}, say("packs")), place);
}

function packCard(pack) {
  const cell = (text) => h("td", {}, text);
  const figure = (value) => value.toLocaleString(undefined, { maximumFractionDigits: 3 });
  const rows = pack.metrics.map((measured) =>
    h("tr", {}, ...[metric(measured.metric), figure(measured.value), `${measured.set}, ${measured.split}`].map(cell), cell(String(measured.samples))),
  );
  const head = ["metric", "value", "on", "samples"].map((word) => h("th", {}, say(`packs_${word}`)));
  const trust = pack.calibration && `${say("packs_calibrated")} ${figure(pack.calibration.error)}`;
  const sources = pack.sources.map((source) => `${source.name} (${source.licence})`).join(", ");
  return h(
    "details.box.pad.pack",
    {},
    h("summary", {}, h("strong", {}, name(pack.name)), ` ${pack.version} `, h("span.quiet", {}, pack.runtime)),
    h("p", {}, inLanguage({ en: pack.about, zh: pack.about_zh || pack.about })),
    rows.length > 0 &&
      h("div.scrolled", {}, h("table.compared", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows))),
    h("p.quiet", {}, [trust, `${say("packs_licence")} ${pack.licence}`, sources && `${say("packs_from")} ${sources}`].filter(Boolean).join(" · ")),
  );
}

/** Where a pack in the shadow says otherwise than the one in use. */
function comparison(order) {
  const place = h("div.difference", {}, h("p.quiet", {}, say("connecting")));
  get(`/api/orders/${order.id}/comparison`).then(
    (found) => place.replaceChildren(...compared(found)),
    (error) => place.replaceChildren(h("p.quiet", {}, error.message)),
  );
  return h("div.question", {}, h("h4", {}, say("shadowSays")), place);
}

function compared(found) {
  const cell = (text) => h("td", {}, String(text));
  const head = ["label", "both", "onlyActive", "onlyShadow"].map((word) => h("th", {}, say(`shadow_${word}`)));
  const rows = found.labels.map((row) =>
    h("tr", {}, cell(name(row.label)), cell(row.both), cell(row.only_active), cell(row.only_shadow)),
  );
  return [
    h("p", {}, say("shadowJudged", found.active_version, found.shadow_version, found.judged)),
    h("table.compared", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)),
    ...found.examples.map((said) =>
      h("p.quiet", {}, `${name(said.label)} · ${say(said.by_active ? "shadow_onlyActive" : "shadow_onlyShadow")}: ${said.text}`),
    ),
  ];
}

/** Somebody wants back what was there before. */
function wayBack(order) {
  const by = whoField();
  const button = h("button", { "data-part": "roll_back", onclick: goBack }, say("rollBack"));
  const form = h("form.ask", { onsubmit: (event) => event.preventDefault() }, by, button);

  async function goBack() {
    if (!form.reportValidity()) return;
    button.disabled = true;
    try {
      put("order", await post(`/api/orders/${order.id}/roll_back`, { by: by.value.trim() }));
    } catch (error) {
      notice(error.message, "error");
      button.disabled = false;
    }
  }

  return h("details", {}, h("summary.quiet", {}, say("rollBackTitle")), form);
}

const whoField = () =>
  h("input", {
    value: document.getElementById("who").value,
    placeholder: say("yourName"),
    "aria-label": say("yourName"),
    maxlength: 200,
    required: true,
    pattern: ".*\\S.*",
    "data-part": "by",
  });

const title = (order) => [say(`order_${order.kind}`), order.name && name(order.name)].filter(Boolean).join(" · ");

function story(order) {
  if (order.state === "waiting") {
    return [h("span", {}, order.activate_at ? say("orderDue", clock(order.activate_at)) : say("orderAsks"))];
  }
  return [
    h("span", {}, `${clock(order.at)} · ${order.by === "hq" ? say("hq") : name(order.by)}`),
    order.remark && h("span.reason", {}, order.remark),
  ];
}

/** What would change, who says so, and yes or no. */
function question(order) {
  const lines = h("div.difference", {}, h("p.quiet", {}, say("connecting")));
  const by = whoField();
  const remark = h("input.remark", {
    placeholder: say("orderRemark"),
    "aria-label": say("orderRemark"),
    maxlength: 500,
    "data-part": "remark",
  });
  const form = h(
    "form.ask",
    { onsubmit: (event) => event.preventDefault() },
    by,
    remark,
    h("button.primary", { "data-part": "agree", onclick: () => answer("agree") }, say("agree")),
    order.kind === "pack" &&
      order.state === "waiting" &&
      h("button", { "data-part": "shadow", onclick: () => answer("shadow") }, say("runInShadow")),
    h("button", { "data-part": "decline", onclick: () => answer("decline") }, say("decline")),
  );

  async function answer(verb) {
    if (!form.reportValidity()) return;
    for (const button of form.querySelectorAll("button")) button.disabled = true;
    try {
      put("order", await post(`/api/orders/${order.id}/${verb}`, { by: by.value.trim(), remark: remark.value }));
    } catch (error) {
      notice(error.message, "error");
    }
    for (const button of form.querySelectorAll("button")) button.disabled = false;
  }

  get(`/api/orders/${order.id}`).then(
    (page) => lines.replaceChildren(...difference(page.difference)),
    (error) => lines.replaceChildren(h("p.quiet", {}, error.message)),
  );
  return h("div.question", {}, h("h4", {}, say("orderChanges")), lines, form);
}

function difference(lines) {
  if (lines.length === 0) return [h("p.quiet", {}, say("orderSame"))];
  const marks = { gone: "−", new: "+", same: " ", cut: "⋯" };
  return lines.map(({ change, text }) =>
    h(`div.changed.${change}`, {}, h("span", { "aria-hidden": "true" }, marks[change]), change === "cut" ? "" : text),
  );
}
