// Groups: terms that are decided together. Each is listed with what it would become, and can be taken out.

import { ask } from "./api.js";
import { byId, count, counted, el, fill, percent } from "./dom.js";
import { newId } from "./outbox.js";
import { STATE_WORDS } from "./queue_list.js";
import { attempt, conceptLink, tell, termLink } from "./two_people.js";

const MOST_MEMBERS = 200;
const projectId = byId("groups-page").dataset.project, base = `/api/v1/reviews/${projectId}`;
const form = byId("kinds"), list = byId("groups"), place = byId("group");
let groups = [], current = -1, members = [], concepts = [], chosen = 0, asked = 0;
let isDeciding = false;

const kind = () => form.elements.kind.value;

/** Groups of the chosen kind; a near group has positions, one of the same terms a position. */
async function load(said = "", keep = 0) {
  const number = ++asked;
  list.setAttribute("aria-busy", "true");
  const answer = await attempt(() => ask(kind()
    ? `${base}/near-groups?${new URLSearchParams({ likeness: kind() })}` : `${base}/groups`));
  if (number !== asked) return;
  list.removeAttribute("aria-busy");
  if (!answer) return;
  groups = answer.groups;
  list.replaceChildren(...groups.map((group, place) => el("li", {},
    el("button", { type: "button", click: () => open(place).then(() => byId("group").focus({ preventScroll: true })) },
      group.label ?? group.name, " ",
      el("span", { class: "facts" }, group.label ? counted(group.positions.length, "open term")
        : `${count(group.open_terms)} of ${counted(group.terms, "term")} open, ${count(group.frequency)} times in the data`)))));
  if (!groups.length) {
    place.replaceChildren(el("p", { class: "empty" }, "No group has two open terms."));
    current = -1;
    if (said) tell(said);
    return;
  }
  await open(Math.max(0, Math.min(keep, groups.length - 1)));
  if (said) tell(said);
}

async function open(number) {
  const mine = ++asked, group = groups[number];
  current = number;
  [...list.querySelectorAll("button")].forEach((button, at) => at === number ? button.setAttribute("aria-current", "true") : button.removeAttribute("aria-current"));
  list.querySelectorAll("button")[number].scrollIntoView({ block: "nearest" });
  place.setAttribute("aria-busy", "true");
  const found = await attempt(async () => {
    const listed = group.positions ? await rows(group.positions.slice(0, MOST_MEMBERS))
      : (await ask(`${base}/terms/${group.position}/group`)).members;
    const card = await ask(`${base}/terms/${group.positions?.[0] ?? group.position}`);
    return { listed, card };
  });
  if (mine !== asked) return;
  place.removeAttribute("aria-busy");
  if (!found) return;
  members = found.listed;
  concepts = choices(members, found.card.candidates);
  chosen = 0;
  draw(group);
}

/** Rows in small questions, as an address has only so many characters. */
async function rows(positions) {
  const found = [];
  for (let start = 0; start < positions.length; start += 100) {
    found.push(...(await ask(`${base}/rows?positions=${positions.slice(start, start + 100).join(",")}`)).rows);
  }
  return found;
}

/** The concepts that may be chosen: what most open members have first, then the candidates of the first of them. */
function choices(listed, candidates) {
  const found = new Map();
  for (const row of listed) {
    if (!row.concept_id || settled(row)) continue;
    const known = found.get(row.concept_id) ?? { concept_id: row.concept_id, concept_name: row.concept_name, first: 0 };
    found.set(row.concept_id, { ...known, first: known.first + 1 });
  }
  const byCount = [...found.values()].sort((one, other) => other.first - one.first);
  const others = candidates.filter((one) => !found.has(one.concept_id)).map((one) => ({ ...one, first: 0 }));
  return [...byCount, ...others].slice(0, 9);
}

const settled = (row) => !["unreviewed", "flagged"].includes(row.state);

function draw(group) {
  const isNear = Boolean(group.positions);
  fill(place,
    el("h2", {}, group.label ?? group.name),
    isNear ? el("p", { class: "note" }, `What they share: ${group.likeness}. Each may mean something else; none is ticked.`) : null,
    el("fieldset", {}, el("legend", {}, "Concept"), concepts.map((one, at) => el("label", { class: "choice" },
      el("input", { type: "radio", name: "concept", value: at, checked: at === chosen, change: () => { chosen = at; } }),
      " ", el("kbd", {}, String(at + 1)), " ", one.concept_name, " ", el("span", { class: "id" }, String(one.concept_id)),
      one.first ? el("span", { class: "facts" }, ` first for ${counted(one.first, "term")}`) : null)),
    concepts.length ? null : el("p", { class: "empty" }, "Nothing is suggested for these terms.")),
    el("table", {}, el("thead", {}, el("tr", {}, ["", "Term", "Code", "Frequency", "Suggested", "State"].map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, members.map((row) => el("tr", {},
        el("td", {}, el("input", { type: "checkbox", "data-position": row.position, "aria-label": `Take ${row.name}`, checked: !isNear && !settled(row), disabled: settled(row) })),
        el("td", {}, termLink(projectId, row.position, row.name)), el("td", { class: "id" }, row.code),
        el("td", {}, row.frequency === null ? "" : count(row.frequency)),
        el("td", {}, row.concept_id ? [conceptLink(row), row.probability === null ? "" : ` ${percent(row.probability)}`] : "nothing"),
        el("td", {}, STATE_WORDS[row.state] + (row.reviewer && settled(row) ? ` by ${row.reviewer}` : "")))))),
    el("p", { class: "links" },
      el("button", { type: "button", id: "approve", click: approve }, el("kbd", {}, "Enter"), " Approve what is ticked"),
      el("button", { type: "button", click: noMatch }, el("kbd", {}, "0"), " No match"),
      el("button", { type: "button", click: undo }, el("kbd", {}, "u"), " Undo")));
}

const ticked = () => {
  const positions = new Set([...place.querySelectorAll("input[type=checkbox]:checked")].map((box) => Number(box.dataset.position)));
  return members.filter((row) => positions.has(row.position)).map(({ position, version }) => ({ position, version }));
};

async function decide(verdict, words) {
  const taken = ticked();
  if (isDeciding) return;
  if (!taken.length) return tell("Tick the terms that are meant.");
  isDeciding = true;
  const answer = await attempt(() => ask(`${base}/groups`, { request_id: newId(), members: taken, verdict }));
  isDeciding = false;
  if (!answer) return;
  const conflicts = answer.results.filter((one) => one.stored === null);
  const stored = answer.results.length - conflicts.length;
  const who = [...new Set(conflicts.map((one) => one.current?.reviewer).filter(Boolean))].join(" and ");
  await load(`${counted(stored, "term")} ${words}.` + (conflicts.length
    ? ` ${counted(conflicts.length, "term")} had been decided by ${who} since, and were left.` : ""), current);
}

function approve() {
  const concept = concepts[chosen];
  if (!concept) return tell("Nothing is suggested: open a term and search.");
  return decide({ state: "approved", targets: [{ concept_id: concept.concept_id }], equivalence: "EQUIVALENT" },
    `approved as ${concept.concept_name}`);
}

const noMatch = () => decide({ state: "no match", equivalence: "UNMATCHED" }, "without match");

async function undo() {
  const answer = await attempt(() => ask(`${base}/undo`, { request_id: newId() }));
  if (!answer) return;
  const undone = answer.results.filter((one) => one.stored !== null).length;
  await load(undone ? `Taken back: ${counted(undone, "decision")}.` : "There is nothing to take back.", current);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const { tagName, type } = event.target;
  if (tagName === "SELECT" || tagName === "A" || (tagName === "INPUT" && !["checkbox", "radio"].includes(type))) return;
  if (event.key === "j" && current + 1 < groups.length) open(current + 1);
  else if (event.key === "k" && current > 0) open(current - 1);
  else if (event.key === "u") undo();
  else if (current < 0) return;
  else if (event.key === "0") noMatch();
  else if (event.key === "Enter" && tagName !== "BUTTON") { event.preventDefault(); approve(); }
  else if (/^[1-9]$/.test(event.key) && concepts[event.key - 1]) place.querySelectorAll("input[type=radio]")[event.key - 1].click();
});
form.addEventListener("change", () => load());
form.addEventListener("submit", (event) => event.preventDefault());
load();
