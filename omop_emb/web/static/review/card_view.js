// The card of a term: the term, its candidates with what differs, what is chosen, and terms like it.

import { byId, count, el, percent } from "./dom.js";
import { STATE_WORDS } from "./queue_list.js";

export const EQUIVALENCES = {
  EQUAL: "the same words", EQUIVALENT: "the same meaning",
  WIDER: "the concept says more than the term", NARROWER: "the concept says less than the term",
  INEXACT: "they overlap", UNMATCHED: "no concept fits", UNREVIEWED: "not compared",
};
export const MAPPING_TYPES = {
  MAPS_TO: "maps to", MAPS_TO_VALUE: "maps to value", MAPS_TO_UNIT: "maps to unit",
  MAPS_TO_OPERATOR: "maps to operator", MAPS_TO_TYPE: "maps to type", MAPS_TO_NUMBER: "maps to number",
};
const UNREVIEWED = "nothing is accepted"; // what mapping says of every term that awaits review
const REASONS = 4, OTHERS = 6;

/** What approving stores now: what was put together, what was decided, or what is chosen. */
export function targetsOf(card, row, draft) {
  if (draft.targets) return draft.targets;
  if (row.targets.length) return row.targets;
  if (draft.choice === 0) return card.suggested_targets;
  return card.candidates[draft.choice]?.targets ?? [];
}

/** The candidate whose concept is the first target; undefined if it was not suggested. */
export function chosenCandidate(card, row, draft) {
  const first = targetsOf(card, row, draft)[0]?.concept_id;
  return card.candidates.find((one) => one.concept_id === first);
}

/** How approving compares meanings now. */
export function equivalenceOf(card, row, draft) {
  if (draft.equivalence) return draft.equivalence;
  if (row.state === "approved" && !draft.targets) return row.equivalence;
  return chosenCandidate(card, row, draft)?.equivalence ?? "EQUIVALENT";
}

export function conceptName(card, draft, conceptId) {
  return (draft.concepts?.[conceptId] ?? card.concepts[conceptId])?.concept_name ?? `concept ${conceptId}`;
}

/** A text whose pieces are marked; screen readers hear of differences in the list of flags. */
function marked(spans) {
  return spans.map(([text, kind, about]) =>
    kind === "differs" ? el("mark", { class: "differs", title: about }, text)
      : kind === "only" || kind === "like" ? el("span", { class: kind }, text) : text);
}

export function drawCard(card, row, draft, { isStale, conflict }) {
  const chosen = chosenCandidate(card, row, draft), targets = targetsOf(card, row, draft);
  const compared = card.candidates[draft.look] ?? chosen ?? card.candidates[0];
  byId("term").replaceChildren(...[
    head(card, row, compared),
    ...notices(card, row, { isStale, conflict }),
    choice(card, row, draft, chosen),
    el("ol", { id: "candidates", "aria-label": "Candidates" },
      card.candidates.map((one, number) => candidate(card, one, number, {
        isOpen: one === compared, isTarget: targets.some((target) => target.concept_id === one.concept_id),
      }))),
    card.candidates.length ? null : el("p", { class: "empty" }, row.revision
      ? "Nothing was found for this term: search, or decide no match."
      : ["This term has not been mapped yet. ", action("fresh", "Look again")]),
    ...likeIt(card, draft),
  ].filter(Boolean));
}

function head(card, row, compared) {
  const meta = [
    row.code && el("span", { class: "id" }, row.code),
    row.frequency !== null && el("span", {}, `${count(row.frequency)} times in the data`),
    el("span", {}, `row ${count(row.position)}`),
    card.allowed_domain && el("span", {}, `must be ${card.allowed_domain.replaceAll("|", " or ")}`),
    row.assigned_to && el("span", {}, `for ${row.assigned_to}`),
    row.source_state && el("span", {}, `in the file: ${row.source_state}`),
    el("span", { class: `state ${row.state.replace(" ", "-")}` }, STATE_WORDS[row.state] + (row.isPending ? ", not saved yet" : row.reviewer && row.state !== "unreviewed" ? ` by ${row.reviewer}` : "")),
  ];
  const context = Object.entries({ ...card.context, ...card.extra }).filter(([, value]) => value);
  const others = [...card.further_names, card.translation].filter(Boolean);
  return el("header", {},
    el("h2", { id: "term-name", tabindex: "-1" }, compared ? marked(compared.term_spans) : row.name || row.code),
    others.length ? el("p", { class: "further" }, `searched also as: ${others.join("; ")}`) : null,
    el("p", { class: "facts" }, meta),
    context.length ? el("dl", { class: "context" }, context.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)])) : null);
}

function notices(card, row, { isStale, conflict }) {
  return [
    conflict && el("p", { class: "notice" }, "Somebody else has decided this term since you saw it. ", action("conflict", "Look at both decisions")),
    isStale && el("p", { class: "notice" }, "There are newer suggestions. ", action("fresh", "Show them")),
    row.comment ? el("p", { class: "comment" }, el("strong", {}, "Comment: "), row.comment) : null,
    card.reason && !card.reason.startsWith(UNREVIEWED) ? el("p", { class: "reason" }, card.reason) : null,
  ].filter(Boolean);
}

function action(name, words) {
  return el("button", { type: "button", class: "small", "data-action": name }, words);
}

function candidate(card, one, number, { isOpen, isTarget }) {
  const status = [
    one.invalid_reason === "missing" ? "not in the vocabulary" : one.invalid_reason ? "no longer valid" : "",
    one.is_standard || one.invalid_reason === "missing" ? "" : "not standard",
  ].filter(Boolean);
  const likelihood = one.probability !== null
    ? el("span", { class: "probability" }, el("meter", { min: 0, max: 1, value: one.probability.toFixed(3), "aria-label": "Probability" }), ` ${percent(one.probability)}`)
    : null;
  return el("li", { class: `candidate${isOpen ? " open" : ""}${isTarget ? " target" : ""}`, "data-number": number, "data-id": one.concept_id },
    el("button", { type: "button", class: "choose", "data-choose": number, title: number < 9 ? "Approve" : null },
      number < 9 ? el("kbd", {}, number + 1) : null, el("span", { class: "hidden" }, ` approve ${one.concept_name}`)),
    el("div", { class: "body" },
      likelihood,
      el("a", { class: "name", href: `${document.body.dataset.root}/concept/${one.concept_id}`, target: "_blank", rel: "noopener" }, marked(one.name_spans)),
      isTarget ? [" ", el("span", { class: "mark good" }, "target")] : null,
      status.map((text) => [" ", el("span", { class: "mark" }, text)]),
      el("div", { class: "facts" }, el("span", { class: "id" }, one.concept_id), el("span", {}, one.domain_id),
        el("span", {}, `${one.vocabulary_id} ${one.concept_code}`), el("span", {}, one.concept_class_id)),
      el("div", { class: "why" }, one.found_through),
      one.flags.map((flag) => el("div", { class: "flag" }, flag)),
      isOpen ? details(card, one) : null));
}

function details(card, one) {
  const reasons = one.contributions.slice(0, 2 * REASONS);
  const speaks = (isFor) => reasons.filter((reason) => reason.contribution > 0 === isFor).slice(0, REASONS)
    .map((reason) => `${reason.reason} ${reason.contribution > 0 ? "+" : "−"}${Math.abs(reason.contribution).toFixed(1)}`).join(", ");
  const others = card.same_target.filter((row) => row.targets.some((target) => target.concept_id === one.concept_id));
  const lines = [
    ["For", speaks(true), "for"], ["Against", speaks(false), "against"],
    ["Also called", one.synonyms.join("; ")], ["Approved before as", one.remembered.join("; ")],
    ["Here also for", others.slice(0, OTHERS).map((row) => row.name).join("; ")],
  ].filter(([, text]) => text);
  return lines.length ? el("dl", { class: "evidence" }, lines.flatMap(([name, text, look]) => [el("dt", {}, name), el("dd", { class: look }, text)])) : null;
}

function choice(card, row, draft, chosen) {
  const targets = targetsOf(card, row, draft), several = targets.length > 1 || draft.adding;
  const isOther = targets.length > 0 && !chosen;
  return el("section", { id: "choice", class: draft.adding ? "adding" : null, "aria-label": "What is chosen" },
    draft.adding ? el("p", { class: "notice" }, "Adding targets: choose with 1-9, / or p; Enter approves all, Esc stops.") : null,
    several || isOther || draft.targets ? el("ul", { id: "targets" }, targets.map((target, number) => el("li", {},
      typeChooser(target, number), " ", conceptName(card, draft, target.concept_id), " ",
      el("span", { class: "id" }, target.concept_id), " ",
      several ? el("button", { type: "button", class: "small", "data-remove": number, "aria-label": `Remove ${conceptName(card, draft, target.concept_id)}` }, "remove") : null))) : null,
    targets.length ? el("p", { id: "equivalence" }, "Meaning: ", el("strong", {}, EQUIVALENCES[equivalenceOf(card, row, draft)]),
      isOther ? " · not among the candidates, so no probability" : null) : null);
}

function typeChooser(target, number) {
  const options = Object.entries(MAPPING_TYPES).map(([value, words]) => el("option", { value, selected: value === target.mapping_type }, words));
  return el("select", { "data-type-of": number, "aria-label": "Mapping type" }, options);
}

function likeIt(card, draft) {
  const line = (row) => el("li", {}, el("button", { type: "button", class: "link", "data-go": row.position }, row.name || row.code), " ",
    el("span", { class: "facts" }, `${STATE_WORDS[row.state]}${row.targets.length ? `: ${row.targets.map((target) => conceptName(card, draft, target.concept_id)).join(" and ")}` : ""}`));
  const decisions = card.decisions.map((one) => el("li", {},
    `${one.reviewer}, ${new Date(one.decided_at).toLocaleString()}: ${one.action === "undo" ? "taken back, " : ""}${STATE_WORDS[one.state]}`,
    one.targets.length ? ` ${one.targets.map((target) => conceptName(card, draft, target.concept_id)).join(" and ")}` : "",
    one.comment ? ` “${one.comment}”` : ""));
  const hidden = card.same_text_total - card.same_text.length;
  return [
    card.same_text.length ? el("section", { class: "alike" }, el("h3", {}, "Terms with the same text"), el("ul", {}, card.same_text.slice(0, OTHERS).map(line)),
      hidden + Math.max(0, card.same_text.length - OTHERS) > 0 ? el("p", { class: "facts" }, `and ${count(hidden + Math.max(0, card.same_text.length - OTHERS))} more`) : null) : null,
    card.same_target.length ? el("section", { class: "alike" }, el("h3", {}, "Terms with the same concepts"), el("ul", {}, card.same_target.slice(0, OTHERS).map(line))) : null,
    decisions.length ? el("section", { class: "alike" }, el("h3", {}, "Decisions"), el("ol", {}, decisions)) : null,
  ].filter(Boolean);
}
