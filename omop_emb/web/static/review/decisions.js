// Decisions: what a person says about a term becomes an item of the outbox, and can be taken back.

import { newId } from "./outbox.js";
import { equivalenceOf, targetsOf } from "./card_view.js";

const MOST_UNDONE = 200;

export class Decisions {
  constructor(terms, outbox, progress) {
    this.terms = terms;
    this.outbox = outbox;
    this.progress = progress;
    this.drafts = new Map();
    this.done = []; // what undo takes back, the latest last
  }

  draft(position) {
    if (!this.drafts.has(position)) this.drafts.set(position, { choice: 0, look: -1, targets: null, equivalence: null, adding: false, concepts: {} });
    return this.drafts.get(position);
  }

  /** Approves what is chosen; "" or why it cannot be done. */
  approve(card, row, draft) {
    const targets = targetsOf(card, row, draft);
    if (!targets.length) return "There is nothing to approve: choose a concept, or press 0 for no match.";
    const rank = card.candidates.findIndex((one) => one.concept_id === targets[0].concept_id);
    let equivalence = equivalenceOf(card, row, draft);
    if (equivalence === "UNMATCHED" || equivalence === "UNREVIEWED") equivalence = "EQUIVALENT";
    this.decide(card, row, { state: "approved", targets, equivalence, rank: rank < 0 ? null : rank + 1 });
    return "";
  }

  noMatch(card, row) {
    this.decide(card, row, { state: "no match", targets: [], equivalence: "UNMATCHED", rank: null });
  }

  /** A flag says that somebody is to look again: targets and comparison stay as they are. */
  flag(card, row, draft) {
    const targets = draft.targets ?? row.targets;
    this.decide(card, row, { state: "flagged", targets, equivalence: row.state === "no match" ? "UNREVIEWED" : row.equivalence, rank: null });
  }

  ignore(card, row) {
    this.decide(card, row, { state: "ignored", targets: [], equivalence: "UNREVIEWED", rank: null });
  }

  comment(card, row, comment) {
    this.decide(card, row, { state: row.state, targets: row.targets, equivalence: row.equivalence, rank: null, comment });
  }

  decide(card, row, verdict) {
    const targets = verdict.targets.map(({ concept_id, mapping_type }) => ({ concept_id, mapping_type }));
    const decision = {
      position: row.position, version: row.version, request_id: newId(), comment: row.comment,
      revision: card.row.revision, ...verdict, targets,
    };
    this.remember({ id: decision.request_id, position: row.position, before: verdictOf(row) });
    if (row.state === "unreviewed" && decision.state !== row.state) this.progress.decided();
    this.progress.move(row.state, decision.state);
    this.drafts.delete(row.position);
    this.terms.marked.delete(row.position);
    this.outbox.add({ kind: "decide", decision });
  }

  /** One verdict on several terms, which one undo takes back. */
  decideGroup(rows, { state, targets, equivalence }) {
    const verdict = { state, targets: targets.map(({ concept_id, mapping_type }) => ({ concept_id, mapping_type })), equivalence, comment: "" };
    const id = newId();
    this.remember({ id, position: rows[0].position, before: verdictOf(rows[0]) });
    for (const row of rows) {
      this.progress.move(row.state, state);
      this.drafts.delete(row.position);
      this.terms.marked.delete(row.position);
    }
    this.progress.decided();
    this.outbox.add({ kind: "group", id, members: rows.map(({ position, version }) => ({ position, version })), verdict });
  }

  /** Keeps what was decided although somebody else has decided since. */
  keepMine({ mine, theirs }) {
    const decision = { ...mine, version: theirs?.version ?? 0, request_id: newId() };
    this.remember({ id: decision.request_id, position: mine.position, before: theirs ? verdictOf(theirs) : NOTHING });
    this.outbox.add({ kind: "decide", decision });
  }

  remember(done) {
    this.done = [...this.done.slice(1 - MOST_UNDONE), done];
  }

  /** Forgets what was not stored, so that undo does not wait for it. */
  forget(requestId) {
    this.done = this.done.filter((one) => one.id !== requestId);
  }

  /** Takes back the last decision; the position of its term, null if only the server knows it. */
  undo() {
    const last = this.done.pop();
    const row = last && this.terms.row(last.position);
    const verdict = row ? { ...last.before, version: row.version + 1 } : undefined;
    if (row) this.progress.move(row.state, last.before.state);
    this.outbox.add({ kind: "undo", id: newId(), position: last?.position ?? null, verdict });
    return last?.position ?? null;
  }
}

const NOTHING = { state: "unreviewed", targets: [], equivalence: "UNREVIEWED", comment: "" };
const verdictOf = ({ state, targets, equivalence, comment }) => ({ state, targets, equivalence, comment });
