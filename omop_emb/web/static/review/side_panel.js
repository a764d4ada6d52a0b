// The panel beside the card: the one search with its filters, the hierarchy of a concept, and terms to be decided
// together. Its results are walked through with arrows or j and k, Enter takes one, + adds it.

import { ask } from "./api.js";
import { announce, byId, count, el, percent } from "./dom.js";

const RESULTS = 20, RELATIVES = 50, COMPLETIONS = 8, WAIT_MS = 120;
const KINDS = [["parents", "Parents", "NARROWER"], ["children", "Children", "WIDER"], ["siblings", "Siblings", "INEXACT"]];

export class SidePanel {
  /** `take(concept, {isFurther, equivalence})` is called with what a person takes. */
  constructor(take) {
    this.take = take;
    this.panel = byId("side");
    this.list = byId("side-list");
    this.form = byId("side-search");
    this.box = byId("side-box");
    this.asked = 0;
    this.timer = 0;
    this.form.addEventListener("submit", (event) => { event.preventDefault(); this.search({ focus: true }); });
    this.form.addEventListener("change", (event) => { if (event.target !== this.box && this.box.value.trim()) this.search({}); });
    this.box.addEventListener("input", () => { clearTimeout(this.timer); this.timer = setTimeout(() => this.complete(), WAIT_MS); });
    this.box.addEventListener("keydown", (event) => { if (event.key === "ArrowDown") { event.preventDefault(); this.move(1); } });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => {
      const button = event.target.closest("[data-take],[data-also],[data-above]");
      if (button) this.press(button);
    });
    byId("side-close").addEventListener("click", () => this.close());
  }

  get isOpen() { return !this.panel.hidden; }

  open(title, isSearch) {
    this.panel.hidden = false;
    byId("cockpit").classList.add("with-side");
    byId("side-title").textContent = title;
    this.form.hidden = !isSearch;
  }

  close() {
    if (!this.isOpen) return false;
    this.panel.hidden = true;
    byId("cockpit").classList.remove("with-side");
    this.asked++;
    this.onClose?.();
    return true;
  }

  openSearch(text) {
    this.open("Search", true);
    this.list.replaceChildren();
    this.box.value = text;
    this.box.focus();
    this.box.select();
    this.fillFilters();
    if (text.trim()) this.search({});
  }

  /** The values of the filters, asked for when they are first seen. */
  async fillFilters() {
    if (this.hasFilters) return;
    this.hasFilters = true;
    try {
      const { domains, vocabularies, concept_classes: classes } = await ask("/api/v1/vocabulary");
      for (const [name, values] of [["domain", domains], ["vocabulary", vocabularies], ["concept_class", classes]]) {
        this.form.elements[name].append(...values.map((value) => el("option", { value }, value)));
      }
    } catch {
      this.hasFilters = false;
    }
  }

  /** Fills the list with what a question answers, unless another was asked meanwhile. */
  async fill(question, draw, focus) {
    const number = ++this.asked;
    this.list.setAttribute("aria-busy", "true");
    let made;
    try {
      made = draw(await question());
    } catch (error) {
      made = [el("p", { class: "problem", role: "alert" }, error.message)];
    }
    if (number !== this.asked) return;
    const hasFocus = this.list.contains(document.activeElement); // without it the next key would be for the term
    this.list.removeAttribute("aria-busy");
    this.list.replaceChildren(...made);
    if (focus || hasFocus) this.items()[0]?.focus();
  }

  query() {
    const values = new URLSearchParams();
    for (const [name, value] of new FormData(this.form)) if (value && !(name === "standard" && value === "true")) values.append(name, value);
    if (values.get("standard") === "false") values.set("valid", "false");
    return values;
  }

  search({ focus = false }) {
    clearTimeout(this.timer);
    const values = this.query();
    if (!values.get("q")?.trim()) return Promise.resolve();
    values.set("limit", RESULTS);
    return this.fill(() => ask(`/api/v1/search?${values}`), (answer) => {
      announce(answer.concepts.length ? `${answer.concepts.length} concepts found.` : "No concept was found.");
      const notes = [...answer.notes, ...(answer.suggestions.length ? [`Did you mean ${answer.suggestions.join(" or ")}?`] : [])];
      return [...notes.map((note) => el("p", { class: "note" }, note)),
        ...answer.concepts.map((hit) => this.item(hit.concept, { why: hit.found_through, probability: hit.probability, flags: hit.flags })),
        answer.concepts.length ? null : el("p", { class: "empty" }, "No concept was found.")].filter(Boolean);
    }, focus);
  }

  complete() {
    const values = this.query();
    if ((values.get("q")?.trim().length ?? 0) < 2) return;
    values.set("limit", COMPLETIONS);
    this.fill(() => ask(`/api/v1/complete?${values}`), (answer) =>
      answer.completions.map((one) => this.item(one.concept, { why: one.text === one.concept.concept_name ? "" : one.text })));
  }

  /** Parents, children and siblings of a concept. */
  openHierarchy(concept) {
    this.open(`Around ${concept.concept_name}`, false);
    const question = async () => {
      const answers = await Promise.all(KINDS.map(([kind]) => ask(`/api/v1/concepts/${concept.concept_id}/${kind}?limit=${RELATIVES}`)));
      return answers;
    };
    return this.fill(question, (answers) => {
      const sections = answers.flatMap(({ relatives, next }, number) => relatives.length ? [
        el("h3", {}, `${KINDS[number][1]} `, el("span", { class: "count" }, next ? `the first ${count(relatives.length)}` : count(relatives.length))),
        ...relatives.map((one) => this.item(one.concept, { equivalence: KINDS[number][2] }))] : []);
      return sections.length ? sections : [el("p", { class: "empty" }, "It has no parents or children in the loaded vocabulary.")];
    }, true);
  }

  /** Elements of the caller's, such as a group of terms. */
  openWith(title, ...elements) {
    this.open(title, false);
    this.asked++;
    this.list.replaceChildren(...elements);
    this.list.querySelector("input,button")?.focus();
  }

  item(concept, { why = "", probability = null, flags = [], equivalence = "" }) {
    const made = el("div", { class: "item", tabindex: "0", role: "group", "aria-label": concept.concept_name },
      probability === null ? null : el("span", { class: "probability" }, percent(probability)),
      el("strong", {}, concept.concept_name || "(no name)"), " ",
      concept.standard_concept === "S" ? null : el("span", { class: "mark" }, "not standard"),
      concept.invalid_reason ? el("span", { class: "mark" }, "no longer valid") : null,
      el("div", { class: "facts" }, el("span", { class: "id" }, concept.concept_id), el("span", {}, concept.domain_id ?? ""),
        el("span", {}, `${concept.vocabulary_id ?? ""} ${concept.concept_code ?? ""}`), el("span", {}, concept.concept_class_id ?? "")),
      why ? el("div", { class: "why" }, why) : null,
      flags.map((flag) => el("div", { class: "flag" }, flag)),
      el("div", { class: "buttons" },
        el("button", { type: "button", class: "small", "data-take": "" }, "Approve"),
        el("button", { type: "button", class: "small", "data-also": "" }, "Add as target"),
        el("button", { type: "button", class: "small", "data-above": "" }, "Around it")));
    made.concept = concept;
    made.equivalence = equivalence;
    return made;
  }

  items() { return [...this.list.querySelectorAll(".item")]; }

  move(step) {
    const items = this.items(), now = items.indexOf(document.activeElement.closest(".item"));
    const next = items[Math.min(Math.max(now + step, 0), items.length - 1)];
    if (now + step < 0 && !this.form.hidden) this.box.focus();
    else next?.focus();
  }

  press(button) {
    const item = button.closest(".item");
    if (!item) return;
    if ("above" in button.dataset) this.openHierarchy(item.concept);
    else this.take(item.concept, { isFurther: "also" in button.dataset, equivalence: item.equivalence });
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const item = event.target.closest(".item");
    if (!item) return;
    const isItem = event.target === item;
    if (event.key === "ArrowDown" || event.key === "j") this.move(1);
    else if (event.key === "ArrowUp" || event.key === "k") this.move(-1);
    else if (event.key === "Enter" && isItem) this.take(item.concept, { isFurther: false, equivalence: item.equivalence });
    else if (event.key === "+") this.take(item.concept, { isFurther: true, equivalence: item.equivalence });
    else if (event.key === "p") this.openHierarchy(item.concept);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
