// The inputs that were kept aside, each with its reason.

import { h, keep } from "./dom.js";
import { isEmpty, newestFirst, state } from "./state.js";
import { clock, say } from "./words.js";

/** The view of the refused inputs. */
export function show(main) {
  const rows = h("ul.plain.box.table");
  const hint = h("p.quiet", {}, say("refusedHint"));
  const nothing = h("div.empty", {}, h("h2", {}, say("noRefused")), h("p", {}, say("noRefusedHint")));
  main.replaceChildren(h("div.page", {}, h("h1", {}, say("refused")), nothing, hint, rows));
  const update = (kind) => {
    if (kind !== "all" && kind !== "refusal") return;
    const refusals = newestFirst(state.refusals);
    nothing.hidden = !isEmpty(state.refusals);
    rows.hidden = hint.hidden = refusals.length === 0;
    keep(
      rows,
      refusals.map((one) => ({ key: String(one.seq), stamp: "", one })),
      ({ one }) =>
        h(
          "li.row.refusal",
          {},
          h("span.mono.quiet", {}, clock(one.at)),
          h("span", {}, h("strong", {}, one.name), " ", h("span.chip", {}, one.source)),
          h("span.reason", {}, one.reason),
        ),
    );
  };
  update("all");
  return { title: say("refused"), update };
}
