// Who answers, and the questions that are asked in the place of the buttons that were pressed.

import { h } from "./dom.js";
import { say } from "./words.js";

const who = () => document.getElementById("who");

/** The name of whoever sits here ('': it is not known yet). */
export const person = () => who().value.trim();

/** Asks in the place of `buttons` for what is not known yet: the name, and a remark when `hint` says what it is about.
 * `send(remark)` tells the gateway, and is true when it agreed; `back` takes the focus when nothing came of it. */
export function ask(buttons, { word, hint = "", back }, send) {
  const by = h("input", {
    maxlength: 200,
    required: true,
    pattern: ".*\\S.*",
    "aria-label": say("yourName"),
    placeholder: say("yourName"),
  });
  const remark = h("input.remark", { maxlength: 2000, "aria-label": hint, placeholder: hint });
  const named = person() !== "";
  const restore = () => {
    form.replaceWith(buttons);
    back.focus();
  };
  const form = h(
    "form.ask",
    {
      onsubmit: (event) => {
        event.preventDefault();
        if (!named) nameIs(by.value.trim());
        send(remark.value.trim()).then((agreed) => agreed || restore());
      },
      onkeydown: (event) => event.key === "Escape" && restore(),
    },
    named ? null : by,
    hint ? remark : null,
    h("button.primary", { type: "submit" }, word),
    h("button", { type: "button", onclick: restore }, say("cancel")),
  );
  buttons.replaceWith(form);
  form.querySelector("input").focus();
  return form;
}

function nameIs(name) {
  who().value = name;
  who().dispatchEvent(new Event("change"));
}
