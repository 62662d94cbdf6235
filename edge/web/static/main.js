// Starts the page: the address chooses the view, the stream keeps it up to date, the keys reach it.

import { show as call } from "./call.js";
import { show as calls, tickCalls } from "./calls.js";
import { show as cards, tick } from "./cards.js";
import { show as device } from "./device.js";
import { show as devices } from "./devices.js";
import { h, notice } from "./dom.js";
import { follow } from "./live.js";
import { show as notes } from "./notes.js";
import { show as orders } from "./orders.js";
import { draw as drawPlayer } from "./player.js";
import { show as refused } from "./refused.js";
import { listen, state } from "./state.js";
import { showStatus } from "./status.js";
import { inLanguage, language, say, speak } from "./words.js";
import { show as works } from "./works.js";

const VIEWS = {
  cards: [cards],
  calls: [calls, call],
  devices: [devices, device],
  notes: [notes],
  refused: [refused],
  orders: [orders],
  works: [works],
};

const main = document.getElementById("main");
const who = document.getElementById("who");
let view = null;

/** Shows what the address names: #/calls is a list, #/calls/ID one of it. */
function go() {
  const [, list, one] = location.hash.match(/^#\/(\w+)(?:\/(.+))?$/) ?? [null, "cards"];
  const [whole, single] = VIEWS[list] ?? VIEWS.cards;
  view?.leave?.();
  view = one && single ? single(main, decodeURIComponent(one)) : whole(main);
  showViews();
  scrollTo(0, 0);
}

function showViews() {
  const open = [...state.cards.values()].filter((card) => card.state === "proposed").length;
  const asked = [...state.orders.values()].filter((order) => order.state === "waiting").length;
  const counts = { cards: open, orders: asked };
  const here = location.hash.split("/")[1] || "cards";
  document.title = `${open ? `(${open}) ` : ""}${view.title} · ${state.site?.name ?? "Outstation"}`;
  document
    .getElementById("views")
    .replaceChildren(
      ...Object.keys(VIEWS).map((key) =>
        h(
          "a",
          { href: `#/${key}`, "aria-current": key === here ? "page" : null },
          say(key),
          counts[key] > 0 && h("span.count", {}, String(counts[key])),
        ),
      ),
    );
  // Where the views are more than fit beside each other, the one that is shown must be among those in sight.
  document.querySelector("#views [aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function translate() {
  document.documentElement.lang = language;
  who.placeholder = say("yourName");
  who.setAttribute("aria-label", say("yourName"));
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  const other = language === "zh" ? "en" : "zh";
  const button = document.getElementById("language");
  button.textContent = other === "zh" ? "中文" : "English";
  button.lang = other;
  drawPlayer();
  showStatus();
  go();
}

document.getElementById("language").addEventListener("click", () => {
  speak(language === "zh" ? "en" : "zh");
  translate();
});
who.value = localStorage.getItem("name") ?? "";
who.addEventListener("change", () => localStorage.setItem("name", who.value.trim()));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea")) return;
  view?.key?.(event);
});
document.addEventListener("click", (event) => {
  const panel = document.querySelector("details.status");
  if (!panel.contains(event.target)) panel.open = false;
});
addEventListener("hashchange", go);
setInterval(() => {
  tick();
  tickCalls();
}, 1000);

listen((kind, record) => {
  if (["all", "health", "connection"].includes(kind)) showStatus();
  if (["all", "card", "order"].includes(kind)) showViews();
  if (kind === "new") notice(`${inLanguage(record.title)} · ${record.subject}`);
  else view?.update(kind, record);
});
translate();
follow();
