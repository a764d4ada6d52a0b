// What would not fit other decisions if the term were approved as it is chosen; below the card, so that nothing jumps.

import { ask } from "./api.js";
import { byId, counted, el } from "./dom.js";
import { reviewPath, verdict } from "./two_people.js";

const WAIT_MS = 150; // whoever decides faster does not read warnings
const MOST_TERMS = 3;

export class ConflictWarnings {
  constructor(projectId) {
    this.projectId = projectId;
    this.asked = ""; // position and targets, of what is shown
    this.found = [];
    this.timer = 0;
  }

  /** Shows the warnings for a term's targets below its card, which has just been drawn. */
  show(position, targets) {
    const key = JSON.stringify([position, targets.map((one) => [one.concept_id, one.mapping_type])]);
    if (key === this.asked) {
      this.draw();
      return;
    }
    clearTimeout(this.timer);
    this.asked = key;
    this.found = [];
    this.timer = targets.length ? setTimeout(() => this.load(key, position, targets), WAIT_MS) : 0;
  }

  async load(key, position, targets) {
    let answer;
    try {
      answer = await ask(`/api/v1/reviews/${this.projectId}/conflicts/check`, {
        position, targets: targets.map(({ concept_id, mapping_type }) => ({ concept_id, mapping_type })),
      });
    } catch (error) {
      if (error.status === undefined) throw error; // a mistake of this page's
      return; // warnings only help: without them the page still works
    }
    if (key !== this.asked) return;
    this.found = answer.conflicts.map((conflict) => ({ ...conflict, position }));
    this.draw();
  }

  draw() {
    byId("warnings")?.remove();
    if (!this.found.length) return;
    byId("term").append(el("section", { id: "warnings", "aria-label": "Conflicts" },
      el("h3", {}, `Approved so, ${this.found.length === 1 ? "a conflict" : counted(this.found.length, "conflict")}`),
      this.found.map((conflict) => this.warning(conflict))));
  }

  warning(conflict) {
    const others = conflict.terms.filter((term) => term.position !== conflict.position);
    return el("div", { class: "notice" },
      el("a", { href: reviewPath(this.projectId, `conflicts?kind=${encodeURIComponent(conflict.kind)}`) }, conflict.summary),
      conflict.better ? `: ${conflict.better.concept_name} (${conflict.better.concept_id})` : null,
      others.length ? el("ul", {}, others.slice(0, MOST_TERMS).map((term) => el("li", {}, `${term.name || term.code}: `, verdict(term)))) : null,
      others.length > MOST_TERMS ? `and ${others.length - MOST_TERMS} more` : null);
  }
}
