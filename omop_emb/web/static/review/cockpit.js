// The page on which a review is done: one term beside its queue. What a key does is done here at once; the server
// hears of it in the background.

import { reviewApi, reviewer } from "./api.js";
import { drawCard, EQUIVALENCES, chosenCandidate, conceptName, equivalenceOf, MAPPING_TYPES, targetsOf } from "./card_view.js";
import { ConflictWarnings } from "./conflict_warnings.js";
import { Decisions } from "./decisions.js";
import { announce, byId, counted, el } from "./dom.js";
import { Filters } from "./filters.js";
import { drawGroup } from "./group_view.js";
import { Keys, showHints, showKeys } from "./keys.js";
import { chooseFrom, settle } from "./menus.js";
import { Outbox } from "./outbox.js";
import { Progress } from "./progress.js";
import { QueueList } from "./queue_list.js";
import { SidePanel } from "./side_panel.js";
import { showStatus } from "./status_bar.js";
import { Terms } from "./terms.js";
import { Watch } from "./watch.js";

const AHEAD = 6; // cards that are there before they are asked for
const MAPPING_MS = 1_500;
const place = byId("cockpit"), projectId = place.dataset.project;
const api = reviewApi(projectId);
const outbox = new Outbox(api, `omop-emb review ${document.body.dataset.root} ${projectId} ${encodeURIComponent(reviewer)}`);
const terms = new Terms(api, outbox), progress = new Progress(), keys = new Keys();
const decisions = new Decisions(terms, outbox, progress);
const list = new QueueList(terms, (number) => go(number));
const side = new SidePanel(takeConcept);
const filters = new Filters(api, () => showQueue());
const warnings = new ConflictWarnings(projectId);
const watch = new Watch(api, terms, () => position);
const stored = `omop-emb review ${projectId} position`;
const linked = Number(new URLSearchParams(location.search).get("position")); // a link to one term
let position = 0; // of the term that is shown
let mapping = 0; // the timer of awaitMapping()

// Showing terms

function now() {
  const card = terms.card(position), row = terms.row(position);
  return card && row ? { card, row, draft: decisions.draft(position) } : null;
}

/** Draws the term that is shown from memory; what is missing is asked for. */
function draw() {
  const shown = now();
  if (shown) {
    terms.touch(position);
    drawCard(shown.card, shown.row, shown.draft, { isStale: terms.stale.has(position), conflict: outbox.conflictOf(position) });
    warnings.show(position, targetsOf(shown.card, shown.row, shown.draft));
    byId("term").removeAttribute("aria-busy");
    if (!shown.card.row.revision) awaitMapping(position);
    return;
  }
  const row = terms.row(position);
  byId("term").setAttribute("aria-busy", "true");
  byId("term").replaceChildren(el("h2", { id: "term-name", tabindex: "-1" }, row ? row.name || row.code : "…"));
  const asked = position;
  terms.loadCard(asked).then(() => { if (asked === position) draw(); }, (error) => {
    if (asked === position) byId("term").replaceChildren(el("p", { class: "problem", role: "alert" }, `${error.message}. `, el("button", { type: "button", "data-action": "fresh" }, "Try again")));
  });
}

/** Asks again for a term that was shown before it was mapped. */
function awaitMapping(at) {
  clearTimeout(mapping);
  mapping = setTimeout(() => {
    if (at !== position || terms.card(at)?.row.revision) return;
    terms.forgetCard(at);
    terms.loadCard(at).then(() => { if (at === position) draw(); }, () => awaitMapping(at));
  }, MAPPING_MS);
}

function go(number) {
  if (number < 0 || number >= list.order.length) return;
  if (position) decisions.draft(position).adding = false;
  if (terms.stale.has(position)) terms.forgetCard(position);
  position = list.order[number];
  terms.marked.delete(position);
  byId("term").scrollTop = 0; // before anything is drawn: later the browser would have to lay it out at once
  list.choose(number);
  draw();
  byId("comment-form").hidden = true;
  announce("");
  sessionStorage.setItem(stored, position);
  setTimeout(lookAhead, 0, number);
}

function lookAhead(number) {
  const row = terms.row(list.order[number]);
  if (row && number === list.current) byId("spoken").textContent = `${row.name || row.code}: ${row.concept_name || "nothing found"}`;
  let left = AHEAD;
  for (let next = number + 1; next < list.order.length && left; next++) {
    if (!terms.isOpen(list.order[next]) && next !== number + 1) continue;
    left--;
    terms.loadCard(list.order[next]).catch(() => {});
  }
  if (number > 0) terms.loadCard(list.order[number - 1]).catch(() => {});
}

/** The next term to do after the one that was decided, or before it, or none. */
function advance() {
  announce("");
  const here = list.current;
  const isOpen = (number) => terms.isOpen(list.order[number]) && !outbox.conflictOf(list.order[number]);
  for (let next = here + 1; next < list.order.length; next++) if (isOpen(next)) return go(next);
  for (let next = 0; next < here; next++) if (isOpen(next)) return go(next);
  announce("All terms of this queue are decided.");
  list.draw();
  draw();
}

async function showQueue() {
  const before = position || linked || Number(sessionStorage.getItem(stored));
  place.setAttribute("aria-busy", "true");
  try {
    const answer = await api.queue(filters.query());
    progress.answer = answer.progress;
    list.fill(answer.positions);
    byId("queue-count").textContent = counted(answer.positions.length, "term");
    watch.start(answer.last_decision, answer.since);
    if (answer.positions.length) go(Math.max(0, list.places.get(before) ?? 0));
    else {
      position = 0;
      byId("term").removeAttribute("aria-busy");
      byId("term").replaceChildren(el("p", { class: "empty" }, answer.progress.decided === answer.progress.total && answer.progress.total
        ? "Every term is decided." : "No term passes these filters."));
    }
  } catch (error) {
    byId("term").replaceChildren(el("p", { class: "problem", role: "alert" }, error.message));
  }
  place.removeAttribute("aria-busy");
  showState();
}

function showState() {
  showStatus({ progress, outbox, terms });
}

function redraw() {
  list.draw();
  showState();
}

// Deciding

function decided(problem) {
  if (problem) return announce(problem);
  side.close();
  advance();
  showState();
}

/** A concept from the search or the hierarchy becomes a target. */
function takeConcept(concept, { isFurther, equivalence }) {
  const shown = now();
  if (!shown) return;
  const { card, row, draft } = shown, isAdded = isFurther || draft.adding;
  const target = { concept_id: concept.concept_id, mapping_type: "MAPS_TO" };
  const before = isAdded ? targetsOf(card, row, draft) : [];
  draft.concepts[concept.concept_id] = concept;
  draft.targets = before.some((one) => one.concept_id === target.concept_id) ? before : [...before, target];
  if (!isAdded && equivalence) draft.equivalence ??= equivalence;
  if (!isAdded) return decided(decisions.approve(card, row, draft));
  draft.adding = true;
  draw();
  announce(`${concept.concept_name} added: ${draft.targets.length} targets.`);
}

function choose({ card, row, draft }, number) {
  const one = card.candidates[number];
  if (!one) return announce(`There is no candidate ${number + 1}.`);
  if (draft.adding) {
    const before = targetsOf(card, row, draft);
    draft.targets = [...before, ...one.targets.filter((target) => !before.some((other) => other.concept_id === target.concept_id))];
    return draw();
  }
  draft.choice = number;
  draft.targets = number === 0 ? card.suggested_targets : one.targets;
  return decided(decisions.approve(card, row, draft));
}

function changeTargets({ card, row, draft }, change) {
  const targets = structuredClone(targetsOf(card, row, draft));
  draft.targets = change(targets);
  draw();
}

async function chooseEquivalence(shown) {
  const { UNREVIEWED: _, ...words } = EQUIVALENCES;
  const value = await chooseFrom("How do the meanings compare?", words, equivalenceOf(shown.card, shown.row, shown.draft));
  if (value === null) return;
  if (shown.row.state === "approved" && !shown.draft.targets) {
    decisions.decide(shown.card, shown.row, { state: "approved", targets: shown.row.targets, equivalence: value, rank: null });
    redraw();
  } else shown.draft.equivalence = value;
  draw();
}

async function chooseType(shown, number = -1) {
  const targets = targetsOf(shown.card, shown.row, shown.draft), target = targets.at(number);
  if (!target) return announce("There is no target yet.");
  const value = await chooseFrom(`${conceptName(shown.card, shown.draft, target.concept_id)}:`, MAPPING_TYPES, target.mapping_type);
  if (value !== null) changeTargets(shown, (changed) => { changed.at(number).mapping_type = value; return changed; });
}

async function settleConflict() {
  const conflict = outbox.conflictOf(position) ?? outbox.conflicts[0];
  if (!conflict) return announce("There is no conflict.");
  const at = conflict.mine.position;
  if (list.places.has(at) && at !== position) go(list.places.get(at));
  await terms.loadRows([at]).catch(() => {});
  const card = await terms.loadCard(at).catch(() => null), draft = decisions.draft(at);
  const answer = await settle(terms.row(at)?.name ?? `Row ${at}`, conflict, (id) => card ? conceptName(card, draft, id) : `concept ${id}`);
  if (answer === null) return;
  outbox.settleConflict(conflict);
  if (answer === "mine") decisions.keepMine(conflict);
  redraw();
  draw();
}

function undo() {
  const at = decisions.undo();
  announce("The last decision is taken back.");
  if (at !== null && list.places.has(at)) go(list.places.get(at));
  redraw();
}

function nextChanged() {
  const order = list.order, from = list.current;
  for (let step = 1; step <= order.length; step++) {
    const number = (from + step) % order.length;
    if (terms.marked.has(order[number])) return go(number), showState();
  }
  announce("No term of this queue has changed.");
}

function fresh() {
  terms.forgetCard(position);
  draw();
  if (list.current >= 0) setTimeout(lookAhead, 0, list.current);
}

function lookAt({ card, draft }) {
  draft.look = (Math.max(draft.look, 0) + 1) % Math.max(1, card.candidates.length);
  draw();
  byId("candidates").children[draft.look]?.scrollIntoView({ block: "nearest" });
}

async function openGroup(shown) {
  await drawGroup({ api, terms, decisions, side, shown, done: (members) => {
    redraw();
    decided("");
    announce(`${counted(members, "term")} decided together.`);
  } });
}

const actions = {
  next: () => go(list.current + 1),
  previous: () => go(list.current - 1),
  approve: (shown) => {
    const isDone = shown.row.state === "approved" && !shown.draft.targets && !shown.draft.equivalence;
    decided(isDone ? "" : decisions.approve(shown.card, shown.row, shown.draft));
  },
  noMatch: (shown) => { decisions.noMatch(shown.card, shown.row); decided(); },
  flag: (shown) => { decisions.flag(shown.card, shown.row, shown.draft); decided(); },
  ignore: (shown) => { decisions.ignore(shown.card, shown.row); decided(); },
  equivalence: chooseEquivalence,
  type: chooseType,
  add: (shown) => { shown.draft.adding = !shown.draft.adding; draw(); },
  comment: (shown) => {
    byId("comment-form").hidden = false;
    byId("comment").value = shown.row.comment;
    byId("comment").focus();
  },
  search: (shown) => side.openSearch(shown.row.name),
  parents: (shown) => {
    const one = shown.card.candidates[shown.draft.look] ?? chosenCandidate(shown.card, shown.row, shown.draft) ?? shown.card.candidates[0];
    const id = one?.concept_id ?? targetsOf(shown.card, shown.row, shown.draft)[0]?.concept_id;
    if (!id) return announce("There is no concept yet: search first.");
    side.openHierarchy({ concept_id: id, concept_name: conceptName(shown.card, shown.draft, id) });
  },
  group: openGroup,
  undo,
  nextChanged,
  conflict: settleConflict,
  fresh,
  reload: () => showQueue(),
  look: lookAt,
  keys: () => showKeys(keys),
};
const WITHOUT_TERM = new Set(["next", "previous", "undo", "nextChanged", "conflict", "fresh", "reload", "keys"]);
const WHEN_LOADED = new Set(["comment", "search", "parents", "group", "equivalence", "add", "look"]);

function act(name) {
  const shown = now(), asked = position;
  if (shown) actions[name](shown);
  else if (WITHOUT_TERM.has(name)) actions[name](null);
  else if (WHEN_LOADED.has(name)) terms.loadCard(asked).then(() => { if (asked === position && now()) act(name); }, () => {});
  else announce("The term is still being loaded: nothing was decided.");
}

// Keys, clicks, and what the server says

const isText = (element) => /^(input|select|textarea)$/i.test(element.tagName) && element.type !== "checkbox";

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.key === "Escape") return escape(event);
  if (isText(event.target)) return;
  const isPressed = event.key === "Enter" || event.key === " ";
  if (isPressed && event.target.closest("button,a,summary,.item")) return; // the key is for it
  const name = keys.byKey.get(event.key), shown = now();
  if (/^[1-9]$/.test(event.key)) {
    if (shown) choose(shown, Number(event.key) - 1);
    else announce("The term is still being loaded: nothing was decided.");
  } else if (name) act(name);
  else return;
  event.preventDefault();
});

function escape(event) {
  if (!byId("comment-form").hidden) byId("comment-form").hidden = true;
  else if (side.close()) byId("queue").focus({ preventScroll: true });
  else if (position && decisions.draft(position).adding) {
    decisions.draft(position).adding = false;
    decisions.draft(position).targets = null;
    draw();
  } else if (!isText(event.target)) return;
  event.preventDefault();
  document.activeElement.blur?.();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { action, choose: number, remove, go: other } = button.dataset, shown = now();
  if (action) {
    button.blur(); // so that Enter approves, and does not press it again
    act(action);
  } else if (number !== undefined && shown) choose(shown, Number(number));
  else if (remove !== undefined && shown) changeTargets(shown, (targets) => targets.filter((_, at) => at !== Number(remove)));
  else if (other !== undefined) goTo(Number(other));
});

/** Goes to a term, which the filters may leave out. */
function goTo(at) {
  if (list.places.has(at)) return go(list.places.get(at));
  position = at;
  draw();
}

byId("term").addEventListener("change", (event) => {
  const number = event.target.dataset.typeOf, shown = now();
  if (number === undefined || !shown) return;
  changeTargets(shown, (targets) => { targets[Number(number)].mapping_type = event.target.value; return targets; });
});

const commentForm = byId("comment-form");
commentForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const shown = now(), text = byId("comment").value.trim();
  commentForm.hidden = true;
  byId("comment").blur();
  if (!shown || text === shown.row.comment) return;
  decisions.comment(shown.card, shown.row, text);
  redraw();
  draw();
});
byId("comment").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  commentForm.requestSubmit();
});
byId("comment-cancel").addEventListener("click", () => { commentForm.hidden = true; });
byId("keys-reset").addEventListener("click", () => { keys.reset(); showKeys(keys); });
byId("refused-close").addEventListener("click", () => outbox.forgetRefused());

outbox.addEventListener("change", redraw);
outbox.addEventListener("answer", ({ detail: { batch, results } }) => {
  for (const result of results) {
    if (result.current) terms.apply(result.current);
    if (result.stored) watch.own.add(result.stored.request_id);
    if (result.stored === null && batch[0].kind === "undo") announce("Not taken back: somebody else has decided that term since.");
    if (result.stored === null) decisions.forget(result.request_id);
  }
  if (batch[0].kind === "undo") undone(batch[0], results);
  else if (!results.length) decisions.forget(batch[0].decision?.request_id ?? batch[0].id); // it was refused
  if ([...batch.map((item) => item.decision?.position ?? item.position), ...results.map((one) => one.position)].includes(position)) draw();
});
/** Goes to what was taken back, if it is another term than the page thought. */
function undone(item, results) {
  if (!results.length) announce("There is nothing to take back.");
  const at = results[0]?.position;
  if (at === undefined || results.some((one) => one.position === item.position)) return;
  if (list.places.has(at)) go(list.places.get(at));
  watch.soon(); // its progress was not counted here
}

watch.addEventListener("change", ({ detail }) => {
  if (detail.progress && !outbox.items.length) progress.answer = detail.progress;
  redraw();
  if (detail.positions.includes(position)) draw();
});

showHints(keys);
showQueue().then(() => {
  outbox.send();
  return filters.fill();
}).catch(() => {}); // without them the filters have no values to choose from
