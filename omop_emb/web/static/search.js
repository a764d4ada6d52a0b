// The search page: results, names as you type, a concept card, and keys for all of it.
// Without this script each search loads the page again.

const root = document.body.dataset.root;
const byId = (id) => document.getElementById(id);
const form = byId("search"), box = byId("q"), list = byId("completions");
const results = byId("results"), card = byId("card"), status = byId("status"), keys = byId("keys");
const WAIT_MS = 80; // between the last key and the question for names

/** The text of a fragment of HTML or an error that can be shown. */
async function load(path, signal) {
  const response = await fetch(root + path, { signal, headers: { Accept: "text/html, application/json" } });
  if (response.ok) return response.text();
  let reason = `the server answered ${response.status}`;
  try {
    reason = (await response.json()).detail || reason;
  } catch { /* not a problem in JSON: the status says it */ }
  if (response.status === 401) reason = "open the link that omop-emb serve printed: this browser has no token";
  throw new Error(reason);
}

function announce(text) {
  status.textContent = text;
}

function showProblem(place, error) {
  if (error.name === "AbortError") return;
  const line = document.createElement("p");
  line.className = "problem";
  line.role = "alert";
  line.textContent = error instanceof TypeError ? "the server cannot be reached: is omop-emb serve running?" : error.message;
  place.replaceChildren(line);
}

/** The form as the query of an address, without what is empty. */
function question() {
  const values = new URLSearchParams();
  for (const [name, value] of new FormData(form)) if (value && !(name === "standard" && value === "true")) values.append(name, value);
  return values;
}

let searching = new AbortController();
async function search(values, { remember = true } = {}) {
  searching.abort();
  searching = new AbortController();
  closeNames();
  if (remember) history.pushState(null, "", `${root}/?${values}`);
  document.title = `${values.get("q") ? values.get("q") + " – " : ""}Find a concept – omop-emb`;
  results.setAttribute("aria-busy", "true");
  try {
    results.innerHTML = await load(`/results?${values}`, searching.signal);
    const count = results.querySelector("ol")?.dataset.count ?? 0;
    announce(count === 0 ? "No concept was found." : `${count} concept${count === "1" ? "" : "s"} found.`);
  } catch (error) {
    showProblem(results, error);
  } finally {
    results.removeAttribute("aria-busy");
  }
}

let opening = new AbortController();
async function openCard(id, { focus = true } = {}) {
  opening.abort();
  opening = new AbortController();
  try {
    card.innerHTML = await load(`/concept/${encodeURIComponent(id)}/card`, opening.signal);
    card.dataset.id = id;
    const here = new URL(location.href);
    here.searchParams.set("concept", id);
    history.replaceState(null, "", here);
  } catch (error) {
    showProblem(card, error);
  }
  card.parentElement.classList.add("open");
  if (focus && card.childElementCount) card.focus({ preventScroll: matchMedia("(min-width: 60rem)").matches });
}

function closeCard() {
  card.replaceChildren();
  card.parentElement.classList.remove("open");
  const here = new URL(location.href);
  here.searchParams.delete("concept");
  history.replaceState(null, "", here);
  (results.querySelector(".result.current > .open") || box).focus();
}

// Names as you type: a listbox under the search box.
let names = [], chosen = -1, naming = new AbortController(), timer = 0;
function closeNames() {
  clearTimeout(timer);
  naming.abort();
  names = [];
  chosen = -1;
  list.hidden = true;
  list.replaceChildren();
  box.setAttribute("aria-expanded", "false");
  box.removeAttribute("aria-activedescendant");
}

async function showNames() {
  naming.abort();
  naming = new AbortController();
  const values = question();
  if (values.get("q") === null || values.get("q").trim().length < 2) return closeNames();
  try {
    const answer = JSON.parse(await load(`/completions?${values}`, naming.signal));
    if (document.activeElement !== box) return;
    names = answer.completions;
    chosen = -1;
    box.removeAttribute("aria-activedescendant");
    list.replaceChildren(...names.map((name, number) => {
      const item = document.createElement("li");
      item.id = `completion-${number}`;
      item.role = "option";
      item.setAttribute("aria-selected", "false");
      const where = document.createElement("small");
      where.textContent = [name.domain, name.text === name.name ? "" : name.name].filter(Boolean).join(" · ");
      item.append(name.text, where);
      item.addEventListener("mousedown", (event) => { event.preventDefault(); takeName(number); });
      return item;
    }));
    list.hidden = names.length === 0;
    box.setAttribute("aria-expanded", String(names.length > 0));
  } catch { /* names only help: without them the search still works */ }
}

function chooseName(number) {
  chosen = (number + names.length + 1) % (names.length + 1);
  if (chosen === names.length) chosen = -1;
  [...list.children].forEach((item, place) => item.setAttribute("aria-selected", String(place === chosen)));
  if (chosen < 0) return box.removeAttribute("aria-activedescendant");
  box.setAttribute("aria-activedescendant", `completion-${chosen}`);
  list.children[chosen].scrollIntoView({ block: "nearest" });
}

function takeName(number) {
  const { text, id } = names[number];
  box.value = text;
  search(question());
  openCard(id, { focus: false });
}

// Results by keys.
function move(step) {
  const rows = [...results.querySelectorAll(".result")];
  if (!rows.length) return;
  const now = rows.findIndex((row) => row.classList.contains("current"));
  const next = Math.min(Math.max(now + step, 0), rows.length - 1);
  rows.forEach((row, place) => row.classList.toggle("current", place === next));
  rows[next].querySelector(".open").focus();
  rows[next].scrollIntoView({ block: "nearest" });
}

async function copy(id) {
  try {
    await navigator.clipboard.writeText(id);
    announce(`Copied ${id}.`);
  } catch {
    announce(`The browser does not let this page copy; the id is ${id}.`);
  }
}

if (form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (chosen >= 0) takeName(chosen);
    else search(question());
  });
  form.addEventListener("change", (event) => { if (event.target !== box && box.value.trim()) search(question()); });
  box.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(showNames, WAIT_MS); });
  box.addEventListener("blur", closeNames);
  box.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && names.length) { event.preventDefault(); chooseName(chosen + 1); }
    else if (event.key === "ArrowUp" && names.length) { event.preventDefault(); chooseName(chosen < 0 ? names.length - 1 : chosen - 1); }
    else if (event.key === "Escape" && names.length) { event.preventDefault(); closeNames(); }
  });
  addEventListener("popstate", () => location.reload());
  const shared = new URLSearchParams(location.search).get("concept");
  if (shared) openCard(shared, { focus: false });
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.copy");
  if (button) return copy(button.dataset.copy);
  const link = event.target.closest("a.open");
  if (!link || !card || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  results.querySelectorAll(".result").forEach((row) => row.classList.toggle("current", row.contains(link)));
  openCard(link.pathname.split("/").pop());
});

document.addEventListener("keydown", (event) => {
  if (!form || event.ctrlKey || event.metaKey || event.altKey || keys.open) return;
  if (event.key === "Escape" && card.childElementCount && event.target !== box) return closeCard();
  if (/^(input|select|textarea)$/i.test(event.target.tagName)) return;
  const current = results.querySelector(".result.current");
  if (event.key === "/") { event.preventDefault(); box.focus(); box.select(); }
  else if (event.key === "j") move(1);
  else if (event.key === "k") move(-1);
  else if (event.key === "c" && current) copy(current.dataset.id);
  else if (event.key === "?") keys.showModal();
});
