// What the pages of two people share: targets in words, links, and what went wrong.

import { announce, byId, el } from "./dom.js";

const root = document.body.dataset.root;
export const STATES = { approved: "maps to", "no match": "no match", flagged: "cannot tell", ignored: "ignored", unreviewed: "open" };

/** A link to a concept's page. */
export function conceptLink(concept) {
  return el("a", { href: `${root}/concept/${concept.concept_id}` },
    concept.concept_name || `concept ${concept.concept_id}, which is not loaded`);
}

/** What was decided, in words. */
export function verdict({ state, targets }) {
  if (!targets.length) return STATES[state];
  return el("ul", {}, targets.map((target) => el("li", {},
    target.mapping_type === "MAPS_TO" ? null : `${target.mapping_type.replace("MAPS_TO_", "").toLowerCase()}: `,
    conceptLink(target), " ", el("span", { class: "id" }, String(target.concept_id)))));
}

/** A link to a term in the page on which it is decided. */
export function termLink(projectId, position, name) {
  return el("a", { href: `${root}/review/${projectId}?state=all&position=${position}` }, name || `row ${position}`);
}

/** A page of the review. */
export const reviewPath = (projectId, path) => `${root}/review/${projectId}/${path}`;

/** Runs a question to the server; what goes wrong is shown, and undefined is returned. */
export async function attempt(question) {
  try {
    return await question();
  } catch (error) {
    if (error.status === undefined) throw error; // a mistake of this page's
    announce(error.message);
    byId("said").classList.add("problem");
    return undefined;
  }
}

/** Tells what happened. */
export function tell(text) {
  byId("said").classList.remove("problem");
  announce(text);
}

export const percent = (share) => `${(100 * share).toFixed(1)} %`;

/** "0.91 (0.85 to 0.97)", or a dash. */
export function withInterval(value, interval, shown) {
  if (value === null) return "–";
  return interval ? `${shown(value)} (${shown(interval.low)} to ${shown(interval.high)})` : shown(value);
}

export function table(heads, rows) {
  return el("div", { class: "scroll", tabindex: "0" }, el("table", { class: "two-table" },
    el("thead", {}, el("tr", {}, heads.map((head) => el("th", { scope: "col" }, head)))),
    el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell)))))));
}
