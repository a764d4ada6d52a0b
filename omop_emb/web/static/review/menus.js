// Menus: a few words to choose from by number, and the two decisions of a conflict.

import { byId, el } from "./dom.js";
import { EQUIVALENCES, MAPPING_TYPES } from "./card_view.js";
import { STATE_WORDS } from "./queue_list.js";

/** Lets a person choose one of some words; null if none was chosen. `now` is the value that holds. */
export function chooseFrom(title, words, now) {
  const dialog = byId("menu-dialog"), values = Object.keys(words);
  return new Promise((resolve) => {
    // At once, not when the dialog's event comes: the next key may come before that.
    const take = (value) => { resolve(value); dialog.close(); };
    const buttons = values.map((value, number) => el("button", {
      type: "button", class: "choice", "aria-pressed": String(value === now), click: () => take(value),
    }, el("kbd", {}, number + 1), ` ${words[value]}`));
    byId("menu-title").textContent = title;
    byId("menu-list").replaceChildren(...buttons);
    dialog.onkeydown = (event) => {
      event.stopPropagation();
      const place = buttons.indexOf(document.activeElement);
      if (/^[1-9]$/.test(event.key) && values[Number(event.key) - 1]) take(values[Number(event.key) - 1]);
      else if (event.key === "ArrowDown" || event.key === "j") buttons[(place + 1) % buttons.length].focus();
      else if (event.key === "ArrowUp" || event.key === "k") buttons[(place + buttons.length - 1) % buttons.length].focus();
      else return;
      event.preventDefault();
    };
    dialog.onclose = () => resolve(null);
    dialog.showModal();
    (buttons[values.indexOf(now)] ?? buttons[0]).focus();
  });
}

/** Shows two decisions on a term; "mine", "theirs", or null for later. */
export function settle(name, { mine, theirs }, conceptName) {
  const dialog = byId("conflict-dialog");
  const says = (verdict) => [
    el("p", {}, el("strong", {}, STATE_WORDS[verdict.state])),
    el("ul", {}, verdict.targets.map((target) => el("li", {}, `${MAPPING_TYPES[target.mapping_type]} ${conceptName(target.concept_id)} (${target.concept_id})`))),
    verdict.equivalence === "UNREVIEWED" ? null : el("p", {}, EQUIVALENCES[verdict.equivalence]),
    verdict.comment ? el("p", { class: "comment" }, verdict.comment) : null,
  ].filter(Boolean);
  return new Promise((resolve) => {
    // At once, not when the dialog's event comes: the next key may come before that.
    const take = (value) => { resolve(value); dialog.close(); };
    byId("conflict-term").textContent = name;
    byId("conflict-mine").replaceChildren(...says(mine));
    byId("conflict-who").textContent = theirs ? `${theirs.reviewer}, ${new Date(theirs.decided_at).toLocaleTimeString()}` : "Somebody else";
    byId("conflict-theirs").replaceChildren(...(theirs ? says(theirs) : ["took it back"]));
    byId("keep-mine").onclick = () => take("mine");
    byId("take-theirs").onclick = () => take("theirs");
    dialog.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key === "m") take("mine");
      else if (event.key === "t") take("theirs");
    };
    dialog.onclose = () => resolve(null);
    dialog.showModal();
    byId("conflict-later").focus();
  });
}
