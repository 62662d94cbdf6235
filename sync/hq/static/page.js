// Shows the page anew every five seconds: the server renders it, this only replaces what is in <main>.
"use strict";

const REFRESH_MS = 5000;

function show(fresh) {
  const sideways = [...document.querySelectorAll(".wide")].map((table) => table.scrollLeft);
  document.querySelector("main").replaceWith(fresh);
  document.querySelectorAll(".wide").forEach((table, n) => { table.scrollLeft = sideways[n] ?? 0; });
}

async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(5000) });
    if (!answer.ok) throw new Error(answer.statusText);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
    // Not while somebody copies from it or writes in it.
    const busy = !getSelection().isCollapsed || document.activeElement?.matches("input");
    if (!busy) show(fresh);
    document.body.classList.remove("stale");
  } catch {
    // What is shown is old now, and looks it, until HQ answers again.
    document.body.classList.add("stale");
  }
  setTimeout(refresh, REFRESH_MS);
}

setTimeout(refresh, REFRESH_MS);
