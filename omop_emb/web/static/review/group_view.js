// Terms that are the same but for case, punctuation and plural, and terms that are nearly the same: they are listed,
// each can be ticked or taken out, and those that are ticked are decided together.

import { conceptName, equivalenceOf, targetsOf } from "./card_view.js";
import { announce, counted, el } from "./dom.js";
import { STATE_WORDS } from "./queue_list.js";

const MOST_NEAR = 60; // terms of a kind that are nearly the same

export async function drawGroup({ api, terms, decisions, side, shown, done }) {
  const { card, row, draft } = shown, targets = targetsOf(card, row, draft);
  if (!targets.length) return announce("Choose a concept first: it is approved for all that are ticked.");
  let members, near;
  try {
    [{ members }, { groups: near }] = await Promise.all([api.group(row.position), api.nearGroups(row.position)]);
    await terms.loadRows([...members.map((member) => member.position), ...near.flatMap((group) => group.positions.slice(0, MOST_NEAR))]);
  } catch (error) {
    return announce(error.message);
  }
  const boxes = new Map();
  const lines = (positions, isTicked) => el("ul", { class: "group" }, positions.filter((position) => terms.row(position) && !boxes.has(position)).map((position) => {
    const member = terms.row(position);
    const box = el("input", { type: "checkbox", checked: position === row.position || (isTicked && member.state === "unreviewed") });
    boxes.set(position, box);
    return el("li", {}, el("label", {}, box, " ", member.name || member.code, " ",
      el("span", { class: "facts" }, [member.code, STATE_WORDS[member.state], member.concept_name].filter(Boolean).join(" · "))));
  }));
  const same = lines(members.map((member) => member.position), true);
  const nearly = near.map((group) => [group, lines(group.positions.slice(0, MOST_NEAR), false)]).filter(([, list]) => list.childElementCount);
  if (boxes.size < 2) return announce("No other open term is the same, or nearly the same.");
  const approve = () => {
    const chosen = [...boxes].filter(([, box]) => box.checked).map(([position]) => terms.row(position));
    if (!chosen.length) return announce("No term is ticked.");
    decisions.decideGroup(chosen, { state: "approved", targets, equivalence: equivalenceOf(card, row, draft) });
    side.close();
    done(chosen.length);
  };
  const form = el("div", { role: "group", "aria-label": "Terms to decide together", keydown: (event) => pressed(event, boxes, approve) },
    el("p", {}, "Approve ", el("strong", {}, targets.map((target) => conceptName(card, draft, target.concept_id)).join(" and ")), " for all that are ticked."),
    el("h3", {}, counted(same.childElementCount, "term"), " with the same text"), same,
    nearly.length ? el("p", { class: "notice" }, "Those below may mean something else: tick what fits.") : null,
    nearly.map(([group, list]) => [el("h3", {}, `${group.likeness}: ${group.label}`), list]),
    el("p", {}, el("button", { type: "button", click: approve }, el("kbd", {}, "Enter"), " Approve all ticked")));
  side.openWith("Decide together", form);
}

function pressed(event, boxes, approve) {
  const all = [...boxes.values()], at = all.indexOf(event.target);
  if (at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Enter") approve();
  else if (event.key === "j" || event.key === "ArrowDown") all[Math.min(at + 1, all.length - 1)].focus();
  else if (event.key === "k" || event.key === "ArrowUp") all[Math.max(at - 1, 0)].focus();
  else if (event.key !== "Escape" && event.key !== "Tab" && event.key !== " ") event.stopPropagation(); // no key decides meanwhile
  if (!["Enter", "j", "k", "ArrowDown", "ArrowUp"].includes(event.key)) return;
  event.preventDefault();
  event.stopPropagation();
}
