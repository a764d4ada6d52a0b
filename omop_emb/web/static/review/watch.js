// Watches what others decide and what is ranked again; it asks every few seconds, and less often while nobody looks.

const EVERY_MS = 4_000, HIDDEN_MS = 30_000, MOST_OWN = 5_000;

/** Sends "change" with the positions that are news, and the progress if it has changed. */
export class Watch extends EventTarget {
  constructor(api, terms, shown) {
    super();
    this.api = api;
    this.terms = terms;
    this.shown = shown; // -> position of the term on the page
    this.own = new Set(); // request ids of this page's decisions
    this.after = 0;
    this.since = null;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => { if (!document.hidden && this.timer) this.soon(); });
  }

  /** Begins after a decision and a time, as the queue said them before anything was shown. */
  start(after, since) {
    this.after = Math.max(after, this.after);
    this.since ??= since;
    if (!this.timer) this.soon(EVERY_MS / 4);
  }

  soon(wait = 0) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.look(), wait);
  }

  async look() {
    let wait = document.hidden ? HIDDEN_MS : EVERY_MS;
    try {
      const answer = await this.api.changes(this.after, this.since);
      this.after = answer.after;
      this.since = answer.since;
      this.takeOver(answer);
      if (answer.has_more) wait = 0;
    } catch { /* asked again */ }
    this.soon(wait);
    if (this.own.size > MOST_OWN) this.own.clear();
  }

  takeOver(answer) {
    const news = [];
    for (const decision of answer.decisions) {
      const isOwn = this.own.has(decision.request_id), isPending = this.terms.outbox.pending(decision.position);
      if (!this.terms.apply(decision)) continue;
      news.push(decision.position);
      if (!isOwn && !isPending) this.terms.marked.set(decision.position, `${decision.reviewer}:`);
    }
    for (const { position, revision } of answer.revised) {
      if (this.terms.revise(position, revision, position === this.shown())) news.push(position);
    }
    // The term on the page is under somebody's eyes: a mark would say nothing more.
    this.terms.marked.delete(this.shown());
    if (news.length) this.dispatchEvent(new CustomEvent("change", { detail: { positions: news, progress: answer.progress } }));
  }
}
