// Bulk approval: what is above the bound is listed with the errors to be expected, and what was listed is approved.

import { ask } from "./api.js";
import { byId, count, counted, el } from "./dom.js";
import { newId } from "./outbox.js";
import { attempt, conceptLink, percent, table, tell, termLink } from "./two_people.js";

const ROWS_SHOWN = 500, WATCH_MS = 2_000;
const projectId = byId("bulk-page").dataset.project, base = `/api/v1/reviews/${projectId}`;
const form = byId("bulk-form"), preview = byId("preview"), training = byId("training"), train = byId("train");
let asked = 0;

const demanded = () => ({ precision: Number(form.elements.precision.value) / 100, accept_untrained: form.elements.accept_untrained.checked });

async function show() {
  const number = ++asked, wanted = demanded();
  const query = new URLSearchParams({ precision: wanted.precision, accept_untrained: wanted.accept_untrained });
  for (const name of ["text", "domain", "assigned"]) if (form.elements[name].value) query.set(name, form.elements[name].value);
  preview.setAttribute("aria-busy", "true");
  const answer = await attempt(() => ask(`${base}/bulk?${query}`));
  if (number !== asked) return;
  preview.removeAttribute("aria-busy");
  preview.replaceChildren();
  if (!answer) return;
  tell("");
  draw(answer, wanted);
}

function draw(answer, wanted) {
  const { rows } = answer, leftOut = Object.entries(answer.left_out);
  preview.replaceChildren(...[
    answer.refusal ? el("p", { class: "refusal" }, answer.refusal, ".") : null,
    answer.refusal && !rows.length ? null : el("h2", {}, rows.length ? `${counted(rows.length, "term")} above the bound` : "No term can be approved at once"),
    rows.length ? el("p", { id: "errors" },
      `Expect ${answer.expected_errors.toFixed(1)} of them to be wrong by their probabilities, and ${answer.most_errors.toFixed(1)} if the bound just holds.`,
      answer.has_more ? " There are more: they come after these." : "") : null,
    leftOut.length ? el("details", { open: !rows.length }, el("summary", {}, `${counted(leftOut.reduce((sum, [, terms]) => sum + terms, 0), "term")} above the bound left out`),
      el("ul", {}, leftOut.map(([reason, terms]) => el("li", {}, `${count(terms)}: ${reason}`)))) : null,
    rows.length ? el("p", {}, el("button", { type: "button", id: "approve", click: () => approve(rows, wanted) }, `Approve all ${count(rows.length)}`)) : null,
    rows.length ? table(["Term", "Code", "Concept", "Domain", "Probability"], rows.slice(0, ROWS_SHOWN).map((row) => [
      termLink(projectId, row.position, row.source_name), row.source_code, conceptLink(row), row.domain, percent(row.probability)])) : null,
    rows.length > ROWS_SHOWN ? el("p", {}, el("button", { type: "button", click: (event) => all(event, answer, wanted) }, `Show all ${count(rows.length)}`)) : null,
  ].filter(Boolean));
}

/** Draws every row, after the button that asked for it. */
function all(event, answer) {
  const body = preview.querySelector("tbody");
  body.append(...answer.rows.slice(ROWS_SHOWN).map((row) => el("tr", {}, [
    termLink(projectId, row.position, row.source_name), row.source_code, conceptLink(row), row.domain, percent(row.probability),
  ].map((cell) => el("td", {}, cell)))));
  event.target.parentElement.remove();
}

async function approve(rows, wanted) {
  const button = byId("approve");
  button.disabled = true;
  const shown = rows.map(({ position, version, concept_id: concept }) => ({ position, version, concept_id: concept }));
  const answer = await attempt(() => ask(`${base}/bulk`, { ...wanted, request_id: newId(), rows: shown }));
  button.disabled = false;
  if (!answer) return;
  const reasons = new Map();
  for (const { reason } of answer.left_out) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  const left = [...reasons].map(([reason, terms]) => `${count(terms)} left out, as ${reason}`).join("; ");
  preview.replaceChildren(
    el("p", {}, `${counted(answer.approved.length, "term")} approved. ${left ? `${left}. ` : ""}`),
    el("p", { class: "links" },
      answer.approved.length ? el("button", { type: "button", id: "undo", click: undo }, "Undo all of it") : null,
      el("button", { type: "button", click: show }, "Show what is left")));
  tell(`${counted(answer.approved.length, "term")} approved.`);
}

async function undo() {
  const answer = await attempt(() => ask(`${base}/undo`, { request_id: newId() }));
  if (!answer) return;
  await show();
  tell(`Taken back: ${counted(answer.results.filter((one) => one.stored !== null).length, "decision")}.`);
}

function drawTraining(answer) {
  const names = Object.keys(answer.figures[0]?.figures ?? {});
  train.disabled = answer.state === "running";
  training.replaceChildren(...[
    answer.state === "running" ? el("p", {}, `Training: ${answer.message}.`) : null,
    answer.state === "failed" ? el("p", { class: "refusal" }, answer.message, ".") : null,
    answer.state === "done" ? el("p", {}, `${answer.ranker} is in use, trained on ${counted(answer.terms, "term")}. `,
      answer.uses_own_trees ? "It orders candidates itself." : "The shipped ranker orders candidates; probabilities are this site's own.") : null,
    answer.figures.length ? table(["Measured on terms that were not learned from", ...names],
      answer.figures.map(({ ranker, figures }) => [ranker, ...names.map((name) => figures[name]?.toFixed(3) ?? "")])) : null,
    answer.notes.length ? el("ul", {}, answer.notes.map((note) => el("li", {}, note))) : null,
  ].filter(Boolean));
  return answer.state === "running";
}

async function watchTraining(answer) {
  if (!answer) return;
  if (drawTraining(answer)) setTimeout(async () => watchTraining(await attempt(() => ask(`${base}/training`))), WATCH_MS);
}

async function fillChoices() {
  const choices = await attempt(() => ask(`${base}/choices`));
  for (const [name, values] of [["domain", choices?.domains], ["assigned", choices?.assigned]]) {
    form.elements[name].append(...(values ?? []).map((value) => el("option", { value }, value)));
  }
}

form.addEventListener("submit", (event) => { event.preventDefault(); show(); });
train.addEventListener("click", async () => watchTraining(await attempt(() => ask(`${base}/training`, {}))));
await fillChoices();
await show();
watchTraining(await attempt(() => ask(`${base}/training`)));
