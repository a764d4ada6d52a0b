// The form above the queue: its order, and which terms are in it.

import { byId, el } from "./dom.js";

const TO_DO = "todo";
const WAIT_MS = 250;

export class Filters {
  /** `onChange` is called when another queue is to be shown. */
  constructor(api, onChange) {
    this.api = api;
    this.form = byId("filters");
    this.timer = 0;
    const stored = new URLSearchParams(location.search);
    for (const field of this.form.elements) {
      if (!field.name || !stored.has(field.name)) continue;
      if (field.type === "checkbox") field.checked = stored.get(field.name) === "true";
      else this.set(field, stored.get(field.name));
    }
    const later = (wait) => { clearTimeout(this.timer); this.timer = setTimeout(() => { this.remember(); onChange(); }, wait); };
    this.form.addEventListener("change", () => later(0));
    this.form.addEventListener("input", (event) => { if (event.target.type === "search") later(WAIT_MS); });
    this.form.addEventListener("submit", (event) => { event.preventDefault(); later(0); });
  }

  set(field, value) {
    if (field.tagName === "SELECT" && ![...field.options].some((option) => option.value === value)) field.append(el("option", { value }, value));
    field.value = value;
  }

  /** The values that the data has. */
  async fill() {
    const choices = await this.api.choices();
    for (const [name, values] of [["domain", choices.domains], ["flag", choices.flags], ["reviewer", choices.reviewers], ["assigned", choices.assigned]]) {
      const field = this.form.elements[name], known = new Set([...field.options].map((option) => option.value));
      field.append(...values.filter((value) => !known.has(value)).map((value) => el("option", { value }, value)));
    }
  }

  values() {
    return [...new FormData(this.form)].filter(([, value]) => value !== "");
  }

  /** The query of the server's queue. */
  query() {
    const query = new URLSearchParams();
    for (const [name, value] of this.values()) {
      if (name === "state" && value === TO_DO) query.append("state", "unreviewed");
      else if (name === "state" && value === "all") continue;
      else if (name.endsWith("_probability")) query.append(name, String(Number(value) / 100));
      else query.append(name, value);
    }
    return query;
  }

  remember() {
    const here = new URL(location.href);
    here.search = new URLSearchParams(this.values().filter(([name, value]) => !(name === "order" && value === "priority") && !(name === "state" && value === TO_DO)));
    history.replaceState(null, "", here);
  }
}
