// Writing a note down, and the notes there are.

import { h, keep, notice } from "./dom.js";
import { post } from "./gateway.js";
import { isEmpty, newestFirst, state } from "./state.js";
import { clock, language, say } from "./words.js";

/** The view of the notes. */
export function show(main) {
  const subjects = h("datalist", { id: "subjects" });
  const subject = h("input", { id: "subject", list: "subjects", maxlength: 200, required: true, pattern: ".*\\S.*" });
  const author = h("input", {
    id: "author",
    maxlength: 200,
    required: true,
    pattern: ".*\\S.*",
    value: document.getElementById("who").value,
    autocomplete: "name",
  });
  const text = h("textarea", { id: "text", rows: 7, maxlength: 10000, required: true });
  const save = h("button.primary", { type: "submit" }, say("save"));
  const form = h(
    "form.box.pad.note",
    { onsubmit: send },
    h("label", { for: "subject" }, say("noteSubject")),
    subject,
    subjects,
    h("label", { for: "text" }, say("noteText")),
    text,
    h("label", { for: "author" }, say("yourName")),
    author,
    save,
  );
  const list = h("ul.plain.stack");
  const nothing = h("div.empty", {}, h("h2", {}, say("noNotes")), h("p", {}, say("noNotesHint")));
  main.replaceChildren(
    h(
      "div.page",
      {},
      h(
        "div.split.even",
        {},
        h("section", {}, h("h1", {}, say("writeNote")), h("p.quiet", {}, say("noteHint")), form),
        h("section", {}, h("h2", {}, say("notes")), nothing, list),
      ),
    ),
  );

  let key = newKey(); // the same note sent twice, after an answer was lost, is accepted once

  async function send(event) {
    event.preventDefault();
    save.disabled = true;
    try {
      const kept = await post("/api/notes", {
        subject: subject.value,
        author: author.value,
        text: text.value,
        language,
        key,
      });
      notice(say(kept.already ? "already" : "saved"));
      key = newKey();
      text.value = "";
      document.getElementById("who").value = author.value.trim();
      document.getElementById("who").dispatchEvent(new Event("change"));
    } catch (error) {
      notice(error.message, "error");
    }
    save.disabled = false;
    text.focus();
  }

  const update = (kind) => {
    if (!["all", "note", "call", "device"].includes(kind)) return;
    const known = new Set([...state.devices.keys(), ...[...state.calls.values()].map((call) => call.customer)]);
    subjects.replaceChildren(...[...known].map((value) => h("option", { value })));
    const notes = newestFirst(state.notes);
    nothing.hidden = !isEmpty(state.notes);
    keep(
      list,
      notes.map((note) => ({ key: note.id, stamp: "", note })),
      ({ note }) =>
        h(
          "li.box.pad",
          {},
          h("p", {}, h("strong", {}, note.subject), h("span.quiet", {}, ` · ${note.data.author} · ${clock(note.at)}`)),
          h("p.text", {}, note.data.text),
        ),
    );
  };
  update("all");
  return { title: say("notes"), update };
}

// crypto.randomUUID is missing where the page is opened by plain HTTP under another name than localhost.
const newKey = () => Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("-");
