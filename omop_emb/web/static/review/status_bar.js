// The bar above: progress, what is not saved yet, conflicts, and what has changed.

import { byId, count, counted } from "./dom.js";

export function showStatus({ progress, outbox, terms }) {
  progress.show();
  const waiting = outbox.items.length;
  const trouble = outbox.problem ? `: ${outbox.problem}, trying again` : "";
  show("unsaved", waiting, `${count(waiting)} not saved yet${trouble}`);
  show("conflict-count", outbox.conflicts.length, counted(outbox.conflicts.length, "conflict"));
  show("changed-count", terms.marked.size, `${count(terms.marked.size)} changed`);
  const refused = outbox.refused.at(-1);
  show("refused", refused, refused && `Row ${count(refused.decision?.position ?? 0)} was not saved: ${refused.reason}`);
}

function show(id, isShown, words) {
  byId(id).hidden = !isShown;
  if (isShown && byId(`${id}-words`).textContent !== words) byId(`${id}-words`).textContent = words;
}
