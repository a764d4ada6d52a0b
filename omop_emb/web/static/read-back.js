// A filled file of a review is sent back, and what became of its rows is shown.

const root = document.body.dataset.root;
const form = document.getElementById("read-back");
const file = form.querySelector("input[type=file]"), button = form.querySelector("button");
const shown = document.getElementById("read-back-report");

/** An element with a text. */
function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

const counted = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;

/** A verdict in a few words. */
function inWords({ state, targets, comment }) {
  const ids = targets.map((target) => target.concept_id).join(", ");
  return `${state}${ids ? ` ${ids}` : ""}${comment ? `: ${comment}` : ""}`;
}

function table(caption, headers, rows) {
  const made = element("table", "", { class: "listed" });
  made.append(element("caption", caption));
  const head = made.createTHead().insertRow();
  for (const header of headers) head.append(element("th", header, { scope: "col" }));
  const body = made.createTBody();
  for (const cells of rows) {
    const row = body.insertRow();
    for (const text of cells) row.append(element("td", text));
  }
  const scroll = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption });
  scroll.append(made);
  return scroll;
}

function show(report) {
  const lines = [
    `${counted(report.decided, "row", "rows")} decided`,
    `${report.unchanged.toLocaleString("en")} unchanged`,
  ];
  if (report.repeated) lines.push(`${report.repeated.toLocaleString("en")} read back before`);
  if (report.conflict_count) lines.push(counted(report.conflict_count, "conflict", "conflicts"));
  if (report.problem_count) lines.push(`${counted(report.problem_count, "row", "rows")} could not be used`);
  shown.replaceChildren(element("p", `${lines.join(", ")}.`));
  if (report.conflicts.length) {
    shown.append(table(
      "Decided here since the file was written; the file's answer was not stored",
      ["Line", "Term", "The file says", "Stands", "By"],
      report.conflicts.map((one) => [
        one.line, one.source_name, inWords(one.said), one.current ? inWords(one.current) : "not decided",
        one.current ? one.current.reviewer : "",
      ]),
    ));
  }
  if (report.problems.length) {
    const rows = report.problems.map((one) => {
      const end = one.indexOf(": ");
      return [one.slice(5, end), one.slice(end + 2)];
    });
    shown.append(table("Rows that could not be used", ["Line", "Why"], rows));
  }
  for (const note of report.notes) shown.append(element("p", note, { class: "note" }));
}

async function send() {
  const address = `${root}${form.dataset.address}?file_name=${encodeURIComponent(file.files[0].name)}`;
  let response;
  try {
    response = await fetch(address, {
      method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file.files[0],
    });
  } catch {
    throw new Error("the server cannot be reached: is omop-emb serve running?");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) throw new Error("open the link that omop-emb printed: this browser has no token");
  if (!response.ok) throw new Error(answer.detail || `the server answered ${response.status}`);
  return answer;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!file.files.length) return;
  button.disabled = true;
  shown.replaceChildren(element("p", "Reading …"));
  try {
    show(await send());
  } catch (error) {
    shown.replaceChildren(element("p", error.message, { class: "problem", role: "alert" }));
  } finally {
    button.disabled = false;
  }
});
