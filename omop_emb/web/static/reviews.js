// The list of reviews: how far imports are, a new review from a file, and deleting one.

const root = document.body.dataset.root;
const byId = (id) => document.getElementById(id);
const form = byId("new"), file = byId("file"), choices = byId("choices"), rows = byId("rows");
const understood = byId("understood"), wrong = byId("wrong"), status = byId("status");
const api = `${root}/api/v1/reviews`;
const SAMPLE = 4_000_000; // bytes of a text that are sent to be shown; the whole file is sent to begin
const POLL_MS = 1_500;
const ROLES = [
  ["", "not used"], ["name_column", "term"], ["code_column", "code"], ["frequency_column", "frequency"],
  ["domain_column", "domain"], ["context_column", "context"], ["candidate_column", "suggested concept ids"],
  ["source_vocabulary_column", "vocabulary of the code"],
];
const SEVERAL = new Set(["name_column", "context_column"]);
const SHOWN_AS = {
  term: "name_column", code: "code_column", frequency: "frequency_column", domain: "domain_column",
  context: "context_column", "source vocabulary": "source_vocabulary_column",
};

/** An element with attributes, or properties where they are no texts, and children. */
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) typeof value === "string" ? made.setAttribute(key, value) : (made[key] = value);
  made.append(...children);
  return made;
}

function reasonOf(code, text) {
  if (code === 401) return "open the link that omop-emb printed: this browser has no token";
  try {
    return JSON.parse(text).detail || `the server answered ${code}`;
  } catch {
    return code ? `the server answered ${code}` : "the server cannot be reached: is omop-emb serve running?";
  }
}

/** The JSON of an answer, or an error that can be shown. */
async function ask(address, options = {}) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(reasonOf(0, ""));
  }
  const text = await response.text();
  if (!response.ok) throw new Error(reasonOf(response.status, text));
  return JSON.parse(text);
}

const post = (address, values) =>
  ask(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(values) });

// ---- a new review

let roles = new Map(); // header -> role that was chosen here, for this file
let previewing = new AbortController();

/** How the file is to be read, as a query. */
function reading() {
  const values = new URLSearchParams({ file_name: file.files[0].name });
  for (const field of choices.querySelectorAll(".fields [name]")) if (field.value) values.set(field.name, field.value);
  if (roles.size) for (const [header, role] of roles) values.append(role || "unused_column", header);
  return values;
}

/** As much of a file as shows its first rows: a text up to a line end, anything else whole. */
async function sample(chosen) {
  if (chosen.size <= SAMPLE || /\.(xlsx|xlsm|parquet)$/i.test(chosen.name)) return chosen;
  const bytes = new Uint8Array(await chosen.slice(0, SAMPLE).arrayBuffer());
  const isWide = (bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff);
  const end = bytes.lastIndexOf(10);
  return isWide || end < 0 ? chosen : chosen.slice(0, end + 1);
}

async function preview() {
  previewing.abort();
  previewing = new AbortController();
  const { signal } = previewing;
  wrong.textContent = "";
  choices.setAttribute("aria-busy", "true");
  try {
    const body = await sample(file.files[0]);
    const found = await ask(`${api}/preview?${reading()}`, {
      method: "POST", headers: { "Content-Type": "application/octet-stream" }, body, signal,
    });
    if (signal.aborted) return;
    show(found);
    choices.hidden = false;
  } catch (error) {
    if (error.name === "AbortError") return;
    choices.hidden = false;
    rows.parentElement.hidden = true;
    wrong.textContent = error.message;
    byId("begin").disabled = true;
  } finally {
    if (!signal.aborted) choices.removeAttribute("aria-busy");
  }
}

function show(found) {
  const detected = new Map();
  for (const [role, headers] of Object.entries(found.roles)) {
    for (const header of headers) if (SHOWN_AS[role] && !detected.has(header)) detected.set(header, SHOWN_AS[role]);
  }
  const isUsagi = found.lines.some((line) => line.includes("Usagi's columns"));
  // The server says what it takes a column for; it does not tell what it was asked for and does not show.
  const asked = (header) => (found.problem || roles.get(header) === "candidate_column" ? roles.get(header) : undefined);
  const roleOf = (header) => asked(header) ?? detected.get(header) ?? "";
  const focused = document.activeElement?.dataset?.header;
  const choosers = found.headers.map((header) => {
    const options = ROLES.map(([value, label]) => element("option", { value, selected: value === roleOf(header) }, label));
    const select = element("select", { "aria-label": `Column ${header} is`, "data-header": header, disabled: isUsagi }, ...options);
    select.addEventListener("change", () => choose(header, select.value, detected));
    return element("th", { scope: "col", className: roleOf(header) ? "used" : "" }, element("div", {}, header), select);
  });
  const lines = found.rows.map((values) =>
    element("tr", {}, ...values.map((value, at) => element("td", { className: roleOf(found.headers[at]) ? "used" : "" }, value))));
  rows.replaceChildren(element("thead", {}, element("tr", {}, ...choosers)), element("tbody", {}, ...lines));
  if (focused) rows.querySelector(`select[data-header="${CSS.escape(focused)}"]`)?.focus();
  const decided = found.decided_by ? ` What a person has decided is read from “${found.decided_by}”.` : "";
  understood.textContent = (found.lines[0] ?? "") + (found.lines[0] ? "." : "") + decided;
  const hasTerm = found.headers.some((header) => roleOf(header) === "name_column");
  wrong.textContent = found.problem ? (hasTerm || !found.headers.length ? found.problem : "Choose the column that has the terms.") : "";
  byId("begin").disabled = Boolean(found.problem);
  rows.parentElement.hidden = !found.headers.length;
}

/** A role for a column; each role but term and context has one column. */
function choose(header, role, detected) {
  if (!roles.size) roles = new Map(detected);
  if (role && !SEVERAL.has(role)) for (const [other, has] of roles) if (has === role) roles.set(other, "");
  roles.set(header, role);
  preview();
}

function chosen() {
  roles = new Map();
  choices.hidden = true;
  if (!file.files.length) return;
  byId("name").value = "";
  byId("name").placeholder = file.files[0].name.replace(/\.[^.]*$/, "").replace(/\.usagi$/, "");
  preview();
}
file.addEventListener("change", chosen);
chosen(); // A file may be there before this script: chosen while it loaded, or kept by a browser that goes back.
for (const field of choices.querySelectorAll("details [name]")) field.addEventListener("change", preview);

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (!file.files.length) return;
  const values = reading(), sent = byId("sent"), begin = byId("begin");
  if (byId("name").value.trim()) values.set("name", byId("name").value.trim());
  // fetch() does not say how much it has sent.
  const request = new XMLHttpRequest();
  request.open("POST", `${api}?${values}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.upload.addEventListener("progress", (progress) => { sent.value = progress.loaded / (progress.total || 1); });
  request.addEventListener("loadend", () => {
    sent.hidden = true;
    begin.disabled = false;
    if (request.status === 201) location.assign(`${root}/review/${JSON.parse(request.responseText).project_id}`);
    else wrong.textContent = reasonOf(request.status, request.responseText);
  });
  wrong.textContent = "";
  sent.value = 0;
  sent.hidden = false;
  begin.disabled = true;
  request.send(file.files[0]);
});

// ---- the list

const number = (value) => value.toLocaleString("en");

function showProgress(row, review) {
  row.querySelector(".terms").textContent = number(review.terms ?? review.terms_read);
  row.querySelector(".decided").textContent = number(review.decided);
  const bar = row.querySelector("progress");
  bar.max = Math.max(1, review.terms ?? review.terms_read);
  bar.value = review.decided;
  const importing = row.querySelector(".importing");
  importing.textContent = review.is_ready || review.failure ? "" : review.terms === null ? "being read" : `${number(review.terms_mapped)} mapped`;
  row.dataset.ready = review.is_ready || review.failure ? "yes" : "no";
}

async function poll() {
  const open = [...document.querySelectorAll('#reviews tr[data-ready="no"]')];
  for (const row of open) {
    try {
      showProgress(row, await ask(`${api}/${row.dataset.id}`));
    } catch { /* the next round may succeed */ }
  }
  if (open.length) setTimeout(poll, POLL_MS);
}
setTimeout(poll, POLL_MS);

document.addEventListener("click", async (event) => {
  const row = event.target.closest("tr[data-id]");
  if (event.target.matches(".delete")) {
    const dialog = byId("confirm");
    byId("question").textContent = `Delete the review “${row.dataset.name}” with its file and all decisions? What was approved stays in the memory of its site.`;
    dialog.returnValue = "no";
    dialog.showModal();
    dialog.addEventListener("close", async () => {
      if (dialog.returnValue !== "yes") return;
      try {
        await post(`${api}/${row.dataset.id}/delete`, { name: row.dataset.name });
        location.reload();
      } catch (error) {
        status.textContent = error.message;
      }
    }, { once: true });
  } else if (event.target.matches(".resume")) {
    try {
      await post(`${api}/${row.dataset.id}/resume`, {});
      location.reload();
    } catch (error) {
      status.textContent = error.message;
    }
  }
});
