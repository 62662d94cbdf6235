// What HQ sent: each order, how it stands, what it would change here, and the answer of a person on site.

import { h, keep, notice } from "./dom.js";
import { get, post } from "./gateway.js";
import { isEmpty, newestFirst, put, state } from "./state.js";
import { clock, name, say } from "./words.js";

/** The view of the orders. */
export function show(main) {
  const list = h("ul.plain.stack");
  const nothing = h("div.empty", {}, h("h2", {}, say("noOrders")), h("p", {}, say("noOrdersHint")));
  main.replaceChildren(h("div.page", {}, h("h1", {}, say("orders")), nothing, list));
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
    order.state === "waiting" && question(order),
  );
}

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
  const by = h("input", {
    value: document.getElementById("who").value,
    placeholder: say("yourName"),
    "aria-label": say("yourName"),
    maxlength: 200,
    required: true,
    pattern: ".*\\S.*",
    "data-part": "by",
  });
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
