// A second person's votes: one term at a time, the next ones there before they are asked for.

import { ask } from "./api.js";
import { byId, counted, el, fill } from "./dom.js";
import { newId } from "./outbox.js";
import { attempt, tell } from "./two_people.js";

const AHEAD = 4;
const place = byId("vote"), base = `/api/v1/reviews/${place.dataset.project}/samples/${place.dataset.sample}`;
const card = byId("vote-card"), searchForm = byId("vote-search"), box = byId("vote-box");
let cards = []; // the one that is shown first, and the next ones
const done = []; // positions, the latest last
const sent = new Set(); // positions of votes under way or stored
const sending = new Map(); // position -> the vote that is under way
let found = null, chosen = new Map(), isAdding = false, isLoading = null, waiting = 0, progress = null;

function candidates() {
  return (found ?? cards[0]?.candidates ?? []).slice(0, 9);
}

function draw() {
  place.removeAttribute("aria-busy");
  const shown = cards[0];
  if (progress) byId("vote-progress").textContent = `${counted(Math.max(progress.open - waiting, 0), "term")} to go.`;
  byId("vote-actions").hidden = !shown;
  if (!shown) {
    card.replaceChildren(el("p", { class: "empty" }, isLoading ? "The terms are being loaded." : "There is no term here for you to vote on. What you have decided yourself, another person votes on."));
    return;
  }
  const facts = [shown.code && el("span", { class: "id" }, shown.code),
    shown.frequency !== null && el("span", {}, `${shown.frequency} times in the data`),
    shown.allowed_domain && el("span", {}, `must be ${shown.allowed_domain.replaceAll("|", " or ")}`),
    ...Object.entries(shown.context).filter(([, value]) => value).map(([name, value]) => el("span", {}, `${name}: ${value}`))];
  fill(card,
    el("h2", {}, shown.name || shown.code),
    shown.further_names.length ? el("p", {}, shown.further_names.join("; ")) : null,
    el("p", { class: "facts" }, facts),
    shown.own ? el("p", { class: "note" }, `You voted before: ${shown.own.state}${shown.own.targets.map((one) => ` ${one.concept_id}`).join(",")}. The latest vote counts.`) : null,
    found ? el("p", {}, "Found by your search: ", el("button", { type: "button", click: () => { found = null; draw(); } }, "Show what was suggested")) : null,
    el("ol", { "aria-label": "Concepts" }, candidates().map((one, number) => el("li", { class: chosen.has(one.concept_id) ? "blind chosen" : "blind" },
      el("button", { type: "button", "data-key": String(number + 1), "aria-label": `Choose ${one.concept_name}` }, el("kbd", {}, String(number + 1))),
      el("div", {}, el("span", { class: "name" }, one.concept_name),
        el("div", { class: "facts" }, [one.concept_id, one.domain_id, one.vocabulary_id, one.concept_class_id, one.concept_code].map((fact) => el("span", {}, String(fact ?? "")))),
        one.differences.map((difference) => el("div", { class: "flag" }, difference)))))),
    candidates().length ? null : el("p", { class: "empty" }, "Nothing was found: search, or press 0."));
  for (const button of byId("vote-actions").querySelectorAll('[data-key="+"]')) {
    button.setAttribute("aria-pressed", String(isAdding));
    button.lastChild.textContent = isAdding ? ` Vote for these ${chosen.size}` : " Several targets";
  }
}

async function load() {
  if (isLoading) return isLoading;
  isLoading = (async () => {
    const after = cards.at(-1)?.position ?? done.at(-1) ?? 0;
    const answer = await attempt(() => ask(`${base}/cards?after=${after}&limit=${AHEAD + sent.size % 8 + 2}`));
    if (answer) {
      progress = answer;
      cards.push(...answer.cards.filter((one) => !sent.has(one.position) && !cards.some((other) => other.position === one.position)));
    }
  })();
  await isLoading;
  isLoading = null;
  draw();
}

function leave() {
  found = null;
  chosen = new Map();
  isAdding = false;
  searchForm.hidden = true;
  box.value = "";
}

async function vote(state, targets) {
  const shown = cards.shift();
  if (!shown) return;
  const position = shown.position;
  done.push(position);
  sent.add(position);
  leave();
  waiting += shown.own ? 0 : 1;
  if (cards.length <= 1) load();
  draw();
  scrollTo(0, 0);
  const underWay = attempt(() => send({ position, request_id: newId(), state, targets }));
  sending.set(position, underWay);
  const stored = await underWay;
  sending.delete(position);
  if (stored) tell(`Stored: ${shown.name || shown.code}: ${state}.`);
  else {
    // Not stored: it stays to be voted on, and what the server said is shown.
    sent.delete(position);
    waiting -= shown.own ? 0 : 1;
    draw();
  }
}

/** Sends a vote again and again while the server cannot be reached; by its id it is stored once. */
async function send(body) {
  for (let wait = 500; ; wait = Math.min(2 * wait, 8000)) {
    try {
      return await ask(`${base}/votes`, body);
    } catch (error) {
      if (!error.isTemporary || error.status === 401) throw error;
      tell(`Not stored yet: ${error.message}.`);
      await new Promise((resolve) => setTimeout(resolve, wait));
    }
  }
}

async function back() {
  const position = done.pop();
  if (position === undefined) return tell("This is where you began.");
  await sending.get(position); // else the card would come without the vote
  const answer = await attempt(() => ask(`${base}/cards/${position}`));
  if (!answer) return undefined;
  sent.delete(position);
  leave();
  cards = [...answer.cards, ...cards.filter((one) => one.position !== position)];
  return draw();
}

function choose(number) {
  const one = candidates()[number];
  if (!one) return;
  const targets = one.targets ?? [{ concept_id: one.concept_id }];
  if (!isAdding) {
    vote("approved", targets);
    return;
  }
  if (chosen.has(one.concept_id)) chosen.delete(one.concept_id);
  else chosen.set(one.concept_id, targets);
  draw();
}

function several() {
  if (!isAdding) isAdding = true;
  else if (chosen.size) {
    const all = new Map([...chosen.values()].flat().map((target) => [`${target.concept_id} ${target.mapping_type ?? "MAPS_TO"}`, target]));
    vote("approved", [...all.values()]);
    return;
  } else isAdding = false;
  draw();
}

function later() {
  if (cards.length < 2) return;
  cards.push(cards.shift());
  leave();
  draw();
}

const ACTIONS = {
  0: () => vote("no match", []), f: () => vote("flagged", []), i: () => vote("ignored", []), u: back, j: later, "+": several,
  "/": () => { searchForm.hidden = false; box.focus(); },
};

function press(key) {
  if (/^[1-9]$/.test(key)) choose(Number(key) - 1);
  else if (key === "Enter" && isAdding) several();
  else ACTIONS[key]?.();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target === box && event.key === "Escape") {
    searchForm.hidden = true;
    card.focus();
  }
  if (/^(input|select|textarea|summary)$/i.test(event.target.tagName)) return;
  if (event.key === "Enter" && /^(a|button)$/i.test(event.target.tagName)) return;
  if (/^[1-90]$/.test(event.key) || event.key in ACTIONS || (event.key === "Enter" && isAdding)) {
    event.preventDefault();
    if (!event.repeat) press(event.key);
  }
});
place.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-key]");
  if (button) press(button.dataset.key);
});
searchForm.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!box.value.trim()) return;
  const asked = cards[0];
  const answer = await attempt(() => ask(`/api/v1/search?${new URLSearchParams({ q: box.value, limit: "9" })}`));
  if (!answer || asked !== cards[0]) return;
  found = answer.concepts.map((one) => ({ ...(one.concept ?? one), differences: [] }));
  draw();
  tell(`${counted(found.length, "concept")} found.`);
  card.focus();
});
draw();
load();
