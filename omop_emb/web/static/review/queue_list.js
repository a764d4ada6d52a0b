// The list of terms: a listbox that holds a hundred thousand and has elements for those that are seen.

import { byId, count, el, percent } from "./dom.js";

const ROW_HEIGHT = 56, BEYOND = 8; // pixels; rows above and below those that are seen
const LOOK_AHEAD = 40; // rows that are loaded beyond them

export const STATE_WORDS = {
  unreviewed: "to do", approved: "approved", "no match": "no match", flagged: "flagged", ignored: "ignored",
};
const SIGNS = { unreviewed: "", approved: "✓", "no match": "∅", flagged: "⚑", ignored: "–" };

export class QueueList {
  constructor(terms, onChoose) {
    this.terms = terms;
    this.box = byId("queue");
    this.space = byId("queue-space");
    this.order = [];
    this.places = new Map(); // position -> place in the list
    this.current = -1;
    this.shown = new Map(); // place -> element
    this.frame = 0;
    this.loading = 0;
    this.box.addEventListener("scroll", () => this.drawSoon());
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest("[role=option]");
      if (row) onChoose(Number(row.dataset.place));
    });
    new ResizeObserver(() => this.drawSoon()).observe(this.box);
  }

  /** Another queue. */
  fill(positions) {
    this.order = positions;
    this.places = new Map(positions.map((position, place) => [position, place]));
    this.current = -1;
    this.shown.forEach((row) => row.remove());
    this.shown.clear();
    this.space.style.height = `${positions.length * ROW_HEIGHT}px`;
    this.draw();
  }

  choose(place) {
    this.current = place;
    const top = place * ROW_HEIGHT, { scrollTop, clientHeight } = this.box;
    if (top < scrollTop) this.box.scrollTop = top;
    else if (top + ROW_HEIGHT > scrollTop + clientHeight) this.box.scrollTop = top + ROW_HEIGHT - clientHeight;
    this.draw();
  }

  drawSoon() {
    this.frame ||= requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  /** Draws what is seen; rows that are not loaded are asked for and drawn when they come. */
  draw() {
    const { scrollTop, clientHeight } = this.box;
    const first = Math.max(0, Math.floor(scrollTop / ROW_HEIGHT) - BEYOND);
    const end = Math.min(this.order.length, Math.ceil((scrollTop + clientHeight) / ROW_HEIGHT) + BEYOND);
    for (const [place, row] of this.shown) {
      if (place < first || place >= end) { row.remove(); this.shown.delete(place); }
    }
    for (let place = first; place < end; place++) this.drawRow(place);
    const active = this.shown.get(this.current);
    if (active) this.box.setAttribute("aria-activedescendant", active.id);
    else this.box.removeAttribute("aria-activedescendant");
    clearTimeout(this.loading);
    this.loading = setTimeout(() => this.load(first, end), 30);
  }

  async load(first, end) {
    const wanted = this.order.slice(Math.max(0, first - LOOK_AHEAD), end + LOOK_AHEAD);
    try {
      if (await this.terms.loadRows(wanted)) this.drawSoon();
    } catch { /* asked for again when the list moves */ }
  }

  drawRow(place) {
    const position = this.order[place], row = this.terms.row(position), mark = this.terms.marked.get(position);
    const conflict = this.terms.outbox.conflictOf(position);
    const isCurrent = place === this.current;
    const key = [row?.state, row?.version, row?.revision, row?.isPending, mark, Boolean(conflict), isCurrent].join();
    let element = this.shown.get(place);
    if (element?.dataset.key === key) return;
    const made = el("div", {
      role: "option", id: `row-${position}`, class: `row ${row?.state.replace(" ", "-") ?? ""}`, "data-place": place,
      "data-position": position, "data-key": key, "aria-selected": String(isCurrent), "aria-setsize": this.order.length,
      "aria-posinset": place + 1,
    }, ...this.contents(position, row, mark, conflict));
    made.style.top = `${place * ROW_HEIGHT}px`;
    if (element) element.replaceWith(made);
    else this.space.append(made);
    this.shown.set(place, made);
  }

  contents(position, row, mark, conflict) {
    if (!row) return [el("span", { class: "what" }, `Term ${count(position)}`)];
    const decided = row.state !== "unreviewed";
    return [
      el("span", { class: "sign", "aria-hidden": "true" }, SIGNS[row.state]),
      el("span", { class: "what" }, row.name || row.code || "(no name)"),
      el("span", { class: "to" },
        conflict ? el("strong", { class: "news" }, "conflict ") : mark ? el("strong", { class: "news" }, `${mark} `) : null,
        decided ? `${STATE_WORDS[row.state]}${row.isPending ? ", not saved yet" : row.reviewer ? `, ${row.reviewer}` : ""}`
          : row.concept_name ? `${row.probability === null ? "" : `${percent(row.probability)} `}${row.concept_name}` : row.revision ? "nothing found" : "not mapped yet"),
    ];
  }
}
