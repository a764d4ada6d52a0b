// Conflicts: each with its terms side by side, links to where they are decided, and "this is right".

import { ask } from "./api.js";
import { byId, counted, el } from "./dom.js";
import { newId } from "./outbox.js";
import { attempt, conceptLink, table, tell, termLink, verdict } from "./two_people.js";

const KINDS = {
  "same term": "The same code and name, different targets", "same code": "The same code, different targets",
  contrast: "One target for terms that differ", "target status": "Targets that are not valid standard concepts",
  domain: "Targets of another domain than the term's", "exact name": "A concept above, although one has the term's name",
  reviewers: "Two people who differ",
};
const WAIT_MS = 2000, MOST_TRIES = 60;
const projectId = byId("conflicts").dataset.project, base = `/api/v1/reviews/${projectId}/conflicts`;
const form = byId("kinds"), list = byId("list"), more = byId("more");
const wanted = new URLSearchParams(location.search).get("kind");
if (wanted in KINDS) form.elements.kind.append(el("option", { value: wanted, selected: true }, KINDS[wanted]));
let next = null;

function draw(conflict) {
  const { concept, better, dismissal } = conflict;
  const says = conflict.terms.some((term) => term.says);
  const people = conflict.kind === "reviewers";
  return el("article", { class: "conflict", "data-key": conflict.key },
    el("h2", {}, KINDS[conflict.kind], conflict.aspect && conflict.kind !== "reviewers" ? `: ${conflict.aspect}` : ""),
    el("p", {}, conflict.is_certain ? el("span", { class: "certain" }, "Something must be wrong: ") : null, conflict.summary, "."),
    concept ? el("p", {}, "Target: ", conceptLink(concept), " ", el("span", { class: "id" }, String(concept.concept_id)), concept.domain_id ? ` · ${concept.domain_id}` : "") : null,
    better ? el("p", {}, "With the term's name: ", conceptLink(better), " ", el("span", { class: "id" }, String(better.concept_id))) : null,
    table(["Term", "Code", ...(says && !people ? ["says"] : []), "was decided as", "by"], conflict.terms.map((term) => [
      termLink(projectId, term.position, term.name), term.code, ...(says && !people ? [term.says] : []), verdict(term),
      people && !term.reviewer ? term.says : term.reviewer ?? ""])),
    conflict.count > conflict.terms.length ? el("p", { class: "note" }, `and ${counted(conflict.count - conflict.terms.length, "more term")}`) : null,
    dismissal ? calledRight(conflict) : rightForm(conflict));
}

function rightForm(conflict) {
  return el("form", { class: "row-of-fields right", submit: (event) => { event.preventDefault(); callRight(conflict, true, event.target.elements.reason.value); } },
    el("label", {}, "Why it is right as it is ", el("input", { name: "reason", maxlength: "1000" })),
    el("button", { type: "submit" }, "This is right"));
}

function calledRight(conflict) {
  const { reviewer, reason, decided_at } = conflict.dismissal;
  return el("p", {}, `Called right by ${reviewer} on ${new Date(decided_at).toLocaleString()}${reason ? `: ${reason}` : ""}. `,
    el("button", { type: "button", click: () => callRight(conflict, false, "") }, "Not right after all"));
}

async function callRight(conflict, isRight, reason) {
  const stored = await attempt(() => ask(`${base}/right`, { key: conflict.key, kind: conflict.kind, request_id: newId(), reason, is_right: isRight }));
  if (stored) await load(isRight ? "Called right." : "Open again.");
}

async function load(said = "", path = "") {
  const query = new URLSearchParams({ limit: "20" });
  if (form.elements.kind.value) query.set("kind", form.elements.kind.value);
  if (form.elements.called_right.checked) query.set("called_right", "true");
  list.setAttribute("aria-busy", "true");
  const answer = await attempt(() => patiently(path || `${base}?${query}`));
  list.removeAttribute("aria-busy");
  if (!answer) return;
  if (!path) list.replaceChildren();
  list.append(...answer.conflicts.map(draw));
  const { kind } = form.elements, chosen = kind.value;
  const all = Object.values(answer.counts).reduce((sum, one) => sum + one, 0);
  kind.replaceChildren(el("option", { value: "" }, `all kinds (${all})`),
    ...Object.entries(KINDS).map(([name, words]) => el("option", { value: name, selected: name === chosen }, `${words} (${answer.counts[name]})`)));
  byId("right-count").textContent = `(${answer.called_right})`;
  next = answer.next && answer.next.slice(answer.next.indexOf("/api/"));
  more.hidden = !next;
  if (!answer.total) list.append(el("p", { class: "empty" }, form.elements.called_right.checked ? "Nothing was called right." : "There is no conflict."));
  tell(`${said} ${counted(answer.total, "conflict")}.`.trim());
}

/** Asks again while the server computes: of 100,000 terms that may take longer than an answer may. */
async function patiently(path) {
  for (let left = MOST_TRIES; ; left--) {
    try {
      return await ask(path);
    } catch (error) {
      if (error.status !== 503 || !left) throw error;
      tell("The conflicts are being computed.");
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    }
  }
}

form.addEventListener("change", () => load());
form.addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => load("", next));
load();
