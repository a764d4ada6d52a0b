// The terms of a review as far as the page knows them: rows of the queue, cards, and what is on its way.

const ROWS_AT_ONCE = 100, MOST_CARDS = 60;
const SAME_AS_DECISION = ["state", "targets", "equivalence", "comment", "version", "reviewer", "decided_at"];

export class Terms {
  constructor(api, outbox) {
    this.api = api;
    this.outbox = outbox;
    this.rows = new Map();
    this.cards = new Map(); // the latest used last
    this.asked = new Map(); // position -> promise of its card
    this.askedRows = new Set();
    this.revisions = new Map();
    this.marked = new Map(); // position -> why it is marked as changed
    this.stale = new Set(); // positions with a card on the page that is no longer the latest
  }

  /** A row with what is not saved yet; undefined if it is not loaded. */
  row(position) {
    const row = this.rows.get(position) ?? this.cards.get(position)?.row;
    if (!row) return undefined;
    const pending = this.outbox.pending(position);
    return pending ? { ...row, ...pending, reviewer: row.reviewer, isPending: true } : row;
  }

  isOpen(position) {
    const row = this.row(position);
    return row === undefined || row.state === "unreviewed";
  }

  /** Loads rows that are missing; true if any came. */
  async loadRows(positions) {
    const missing = positions.filter((position) => !this.rows.has(position) && !this.askedRows.has(position));
    if (!missing.length) return false;
    missing.forEach((position) => this.askedRows.add(position));
    try {
      for (let start = 0; start < missing.length; start += ROWS_AT_ONCE) {
        const rows = await this.api.rows(missing.slice(start, start + ROWS_AT_ONCE));
        rows.forEach((row) => this.keepRow(row));
      }
    } finally {
      missing.forEach((position) => this.askedRows.delete(position));
    }
    return true;
  }

  keepRow(row) {
    const known = this.rows.get(row.position);
    if (!known || row.version >= known.version) this.rows.set(row.position, row);
  }

  card(position) {
    return this.cards.get(position);
  }

  /** The card of a term: from memory, or asked for once. */
  loadCard(position) {
    const known = this.cards.get(position);
    if (known) return Promise.resolve(known);
    if (!this.asked.has(position)) {
      const asking = this.api.card(position).then((card) => {
        this.cards.set(position, card);
        this.keepRow(card.row);
        for (const oldest of this.cards.keys()) {
          if (this.cards.size <= MOST_CARDS) break;
          this.cards.delete(oldest);
        }
        return card;
      }).finally(() => this.asked.delete(position));
      this.asked.set(position, asking);
    }
    return this.asked.get(position);
  }

  /** Uses a card, so that it is kept longer than others. */
  touch(position) {
    const card = this.cards.get(position);
    if (card) {
      this.cards.delete(position);
      this.cards.set(position, card);
    }
  }

  forgetCard(position) {
    this.cards.delete(position);
    this.stale.delete(position);
  }

  /** Takes over a stored decision; true if it is news. */
  apply(decision) {
    const row = this.rows.get(decision.position);
    const card = this.cards.get(decision.position);
    if (card && !card.decisions.some((one) => one.decision_id === decision.decision_id)) card.decisions.push(decision);
    if (!row || decision.version <= row.version) return false;
    const changed = { ...row };
    for (const name of SAME_AS_DECISION) changed[name] = decision[name];
    this.rows.set(decision.position, changed);
    if (card) card.row = changed;
    return true;
  }

  /** Takes over that a term has another first candidate; its card on the page is not replaced. */
  revise(position, revision, isShown) {
    const row = this.rows.get(position), card = this.cards.get(position);
    if (isShown && card) {
      if (card.row.revision >= revision || this.stale.has(position)) return false;
      this.stale.add(position);
      return true;
    }
    if (card && card.row.revision < revision) this.cards.delete(position);
    if (row?.revision >= revision || this.revisions.get(position) >= revision) return false;
    this.revisions.set(position, revision);
    this.rows.delete(position);
    this.marked.set(position, "other suggestions");
    return true;
  }
}
