// Third decisions: both verdicts side by side, the names hidden until it is decided.

import { ask } from "./api.js";
import { byId, counted, el } from "./dom.js";
import { newId } from "./outbox.js";
import { attempt, conceptLink, tell, termLink, verdict } from "./two_people.js";

const place = byId("adjudicate"), projectId = place.dataset.project;
const base = `/api/v1/reviews/${projectId}/samples/${place.dataset.sample}`;
const list = byId("list"), more = byId("more"), names = byId("show-names");
let next = null;

function draw(one) {
  const article = el("article", { class: "difference", "data-position": String(one.position) });
  article.append(
    el("h2", {}, one.is_settled ? one.name : termLink(projectId, one.position, one.name), one.code ? el("span", { class: "count" }, ` ${one.code}`) : null),
    el("div", { class: "sides" }, one.sides.map((side, number) => drawSide(one, side, number, article))),
    one.is_settled ? settled(one) : otherwise(one, article));
  return article;
}

function drawSide(one, side, number, article) {
  const who = side.reviewer ? `${side.reviewer}${side.is_second ? ", second vote" : ""}` : `Verdict ${"AB"[number]}`;
  return el("section", { class: "side" }, el("h3", {}, who), el("div", {}, verdict(side)),
    side.comment ? el("p", { class: "note" }, side.comment) : null,
    one.is_settled || side.state === "flagged" ? null
      : el("button", { type: "button", click: () => settle(one, side.state, side.targets, article) }, "This one is right"));
}

function settled(one) {
  return el("p", {}, one.is_adjudicated ? "Settled by " : "Decided again by ", el("strong", {}, one.decided.reviewer), ": ", verdict(one.decided));
}

function otherwise(one, article) {
  const found = el("div", {});
  return el("details", {}, el("summary", {}, "Neither of them"),
    el("p", {}, el("button", { type: "button", click: () => settle(one, "no match", [], article) }, "No match")),
    el("form", { class: "row-of-fields", submit: (event) => { event.preventDefault(); search(event.target.elements.q.value, one, article, found); } },
      el("label", {}, "Term, code or concept id ", el("input", { name: "q", type: "search", maxlength: "1000" })), el("button", { type: "submit" }, "Search")),
    found);
}

async function search(text, one, article, found) {
  if (!text.trim()) return;
  const answer = await attempt(() => ask(`/api/v1/search?${new URLSearchParams({ q: text, limit: "8" })}`));
  if (!answer) return;
  found.replaceChildren(el("ul", {}, answer.concepts.map((hit) => {
    const concept = hit.concept ?? hit;
    return el("li", {}, conceptLink(concept), ` ${concept.domain_id ?? ""} `,
      el("button", { type: "button", click: () => settle(one, "approved", [{ concept_id: concept.concept_id, mapping_type: "MAPS_TO" }], article) }, "Decide this"));
  })));
}

async function settle(one, state, targets, article) {
  const result = await attempt(() => ask(`${base}/adjudications`, {
    position: one.position, version: one.version, request_id: newId(), state,
    targets: targets.map(({ concept_id, mapping_type }) => ({ concept_id, mapping_type })),
  }));
  if (!result) return;
  const answer = await attempt(() => ask(`${base}/differences?limit=100&names=${names.checked}`));
  const now = answer?.differences.find((other) => other.position === one.position);
  if (now) article.replaceWith(draw(now));
  tell(result.stored ? `Decided: ${one.name}. ${open(answer)}` : "Somebody has decided this term since it was shown: this is what stands now.");
}

const open = (answer) => (answer ? `${counted(answer.open, "difference")} open, ${answer.settled} settled.` : "");

async function load(path = "") {
  const answer = await attempt(() => ask(path || `${base}/differences?limit=50&names=${names.checked}`));
  list.removeAttribute("aria-busy");
  if (!answer) return;
  if (!path) list.replaceChildren();
  list.append(...answer.differences.map(draw));
  if (!answer.differences.length && !path) list.append(el("p", { class: "empty" }, "Where both have voted, they agree."));
  next = answer.next && answer.next.slice(answer.next.indexOf("/api/"));
  more.hidden = !next;
  tell(open(answer));
}

names.addEventListener("change", () => load());
more.addEventListener("click", () => load(next));
load();
