// Samples: what a second person is asked, how far it is, and who is to decide which terms.

import { ask } from "./api.js";
import { byId, counted, el } from "./dom.js";
import { attempt, percent, reviewPath, table, tell } from "./two_people.js";

const projectId = byId("samples").dataset.project, base = `/api/v1/reviews/${projectId}`;
const KINDS = { "second vote": "second votes", audit: "audit" };

async function showSamples() {
  const answer = await attempt(() => ask(`${base}/samples`));
  const place = byId("sample-list");
  place.removeAttribute("aria-busy");
  if (!answer) return;
  const path = (sample, rest) => reviewPath(projectId, `second/${sample.sample_id}${rest}`);
  place.replaceChildren(answer.samples.length
    ? table(["What for", "Who is asked", "Terms", "Voted", "Drawn", "Go to"], answer.samples.map((sample) => [
        KINDS[sample.kind], sample.reviewer || "anybody but who decided",
        `${sample.terms} of ${sample.population}`, String(sample.voted),
        `${new Date(sample.created_at).toLocaleDateString()} by ${sample.created_by}, seed ${sample.seed}`,
        el("span", { class: "links" }, el("a", { href: path(sample, "") }, "vote"),
          el("a", { href: path(sample, "/adjudicate") }, "differences"), el("a", { href: path(sample, "/result") }, "result"))]))
    : el("p", { class: "empty" }, "Nobody has been asked yet."));
}

byId("new-sample").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { kind, reviewer, size, seed, domain } = event.target.elements;
  const body = { kind: kind.value, reviewer: reviewer.value };
  if (size.value) body.size = Number(size.value);
  if (seed.value) body.seed = Number(seed.value);
  if (domain.value) body.domain = domain.value;
  const sample = await attempt(() => ask(`${base}/samples`, body));
  if (!sample) return;
  await showSamples();
  tell(`${counted(sample.terms, "term")} of ${sample.population} were drawn with seed ${sample.seed}.`);
});

byId("audit-size").addEventListener("submit", async (event) => {
  event.preventDefault();
  const { precision, width } = event.target.elements;
  const query = new URLSearchParams({ precision: String(precision.value / 100), width: String(width.value / 100) });
  const answer = await attempt(() => ask(`${base}/samples/size?${query}`));
  if (!answer) return;
  byId("suggested").textContent = `${counted(answer.size, "row")} of ${answer.population} approved ones`;
  byId("new-sample").elements.kind.value = "audit";
  byId("new-sample").elements.size.value = answer.size;
  tell(`An interval of ${percent(answer.width)} needs ${counted(answer.size, "row")}.`);
});

function showAssigned(answer) {
  byId("assigned").replaceChildren(answer.reviewers.length
    ? table(["Person", "Terms", "Open"], answer.reviewers.map((one) => [one.reviewer, String(one.assigned), String(one.open)]))
    : el("p", { class: "empty" }, "No term is assigned: anybody decides."));
}

async function assign(reviewers) {
  const { domain, text, unassigned } = byId("assign").elements;
  const answer = await attempt(() => ask(`${base}/assignments`, {
    reviewers, domain: domain.value, text: text.value, unassigned: unassigned.checked,
  }));
  if (!answer) return;
  showAssigned(answer);
  const parts = Object.entries(answer.changed).map(([name, number]) => `${name || "anybody"}: ${number}`);
  tell(`Assigned: ${parts.join(", ")}.`);
}

byId("assign").addEventListener("submit", (event) => {
  event.preventDefault();
  assign([event.target.elements.reviewers.value]);
});
byId("unassign").addEventListener("click", () => assign([]));
showSamples();
attempt(() => ask(`${base}/assignments`)).then((answer) => answer && showAssigned(answer));
