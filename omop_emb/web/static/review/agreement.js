// The result of a sample: agreement of two people by domain, and the precision that an audit shows.

import { ask } from "./api.js";
import { byId, counted, el } from "./dom.js";
import { attempt, percent, table, withInterval } from "./two_people.js";

const place = byId("agreement");
const twoDigits = (value) => value.toFixed(2);

function audited(audit) {
  return el("section", {},
    audit.precision === null ? null : el("p", { class: "big" }, withInterval(audit.precision, audit.interval, percent)),
    el("p", {}, audit.words),
    el("p", { class: "note" }, "The interval is exact for a draw from this many rows (Clopper and Pearson's, hypergeometric). It speaks of the rows as they were when they were drawn; what was settled since has only made the file better."),
    table(["Drawn", "Right", "Wrong", "To be settled", "Not answered"],
      [[audit.drawn, audit.right, audit.wrong, audit.unsettled, audit.unanswered].map(String)]),
    audit.settled_by_one_of_two ? el("p", { class: "note" }, `${counted(audit.settled_by_one_of_two, "difference")} settled by one of the two who differ: a third person would be better.`) : null);
}

function row(name, one) {
  return [name, String(one.n), withInterval(one.share, one.interval, percent), withInterval(one.kappa, one.kappa_interval, twoDigits), one.words];
}

const result = await attempt(() => ask(`/api/v1/reviews/${place.dataset.project}/samples/${place.dataset.sample}/result`));
place.removeAttribute("aria-busy");
if (result) {
  byId("result").replaceChildren(
    el("p", {}, `${result.sample.voted} of ${counted(result.sample.terms, "term")} have a second vote; ${counted(result.open_differences, "difference")} to be settled; ${counted(result.flagged, "vote")} could not tell.`),
    ...(result.audit ? [audited(result.audit)] : []),
    el("section", {}, el("h2", {}, "Agreement"),
      table(["Domain", "Terms", "Say the same (95 %)", "Cohen's kappa (95 %)", "In words"],
        [row("all", result.overall), ...Object.entries(result.by_domain).map(([name, one]) => row(name || "none", one))])));
}
