// Keys: which key does what, as the user has it, and the list of all of them.

import { byId, el } from "./dom.js";

const STORED = "omop-emb review keys";

/** name -> [words, keys as shipped]. Digits, which choose candidates, and Escape are not changed. */
export const ACTIONS = {
  next: ["next term", ["j", "ArrowDown"]],
  previous: ["previous term", ["k", "ArrowUp"]],
  approve: ["approve what is chosen, and go on", ["Enter", "a"]],
  noMatch: ["no match, and go on", ["0"]],
  flag: ["flag for somebody else, and go on", ["f"]],
  ignore: ["ignore, and go on", ["i"]],
  equivalence: ["how the meanings compare", ["e"]],
  type: ["mapping type of the last target", ["t"]],
  add: ["add a further target", ["+"]],
  comment: ["comment", ["c"]],
  search: ["search for another concept", ["/"]],
  parents: ["parents, children and siblings", ["p"]],
  group: ["terms that are the same, together", ["g"]],
  undo: ["take back the last decision", ["u"]],
  nextChanged: ["next changed term", ["n"]],
  conflict: ["look at a conflict", ["x"]],
  fresh: ["show the latest suggestions of this term", ["r"]],
  reload: ["order the queue anew", ["R"]],
  look: ["look at the next candidate without choosing", ["l"]],
  keys: ["this list", ["?"]],
};

export class Keys {
  constructor() {
    this.changed = {};
    try {
      this.changed = JSON.parse(localStorage.getItem(STORED)) ?? {};
    } catch { /* as shipped */ }
    this.read();
  }

  read() {
    this.byKey = new Map();
    for (const name of Object.keys(ACTIONS)) for (const key of this.of(name)) this.byKey.set(key, name);
  }

  of(name) {
    return this.changed[name] ? [this.changed[name]] : ACTIONS[name][1];
  }

  shown(name) {
    return this.of(name).map((key) => ({ ArrowDown: "↓", ArrowUp: "↑", " ": "Space" })[key] ?? key);
  }

  /** Gives an action another key; the words of why not, "" if it was given. */
  change(name, key) {
    if (/^([1-9]|Escape|Tab|Shift|Control|Alt|Meta|Dead)$/.test(key)) return `${key} cannot be given`;
    const taken = Object.keys(ACTIONS).find((other) => other !== name && this.of(other).includes(key));
    if (taken) return `${key} is: ${ACTIONS[taken][0]}`;
    this.changed[name] = key;
    this.keep();
    return "";
  }

  reset() {
    this.changed = {};
    this.keep();
  }

  keep() {
    try {
      localStorage.setItem(STORED, JSON.stringify(this.changed));
    } catch { /* they hold until the page is left */ }
    this.read();
    showHints(this);
  }
}

/** Writes the keys beside the buttons that they press. */
export function showHints(keys) {
  for (const button of document.querySelectorAll("button[data-action]")) {
    const hint = button.querySelector("kbd");
    if (hint && ACTIONS[button.dataset.action]) hint.textContent = keys.shown(button.dataset.action)[0];
  }
}

/** The dialog with all keys, in which each can be changed. */
export function showKeys(keys, problem = "") {
  const dialog = byId("keys-dialog"), list = byId("keys-list");
  const rows = Object.entries(ACTIONS).map(([name, [words]]) => [
    el("dt", {}, keys.shown(name).flatMap((key, number) => [number ? " or " : "", el("kbd", {}, key)])),
    el("dd", {}, el("span", {}, words), " ", el("button", {
      type: "button", class: "small", "aria-label": `Change the key for: ${words}`,
      click: (event) => waitForKey(keys, name, event.currentTarget),
    }, "change")),
  ]);
  list.replaceChildren(
    el("dt", {}, el("kbd", {}, "1"), " to ", el("kbd", {}, "9")), el("dd", {}, "choose a candidate, approve it, and go on"),
    ...rows.flat(),
    el("dt", {}, el("kbd", {}, "Esc")), el("dd", {}, "close, or stop adding"),
  );
  byId("keys-problem").textContent = problem;
  if (!dialog.open) dialog.showModal();
}

function waitForKey(keys, name, button) {
  button.textContent = "press a key";
  button.addEventListener("keydown", (event) => {
    event.preventDefault();
    event.stopPropagation();
    showKeys(keys, event.key === "Escape" ? "" : keys.change(name, event.key));
  }, { once: true });
}
