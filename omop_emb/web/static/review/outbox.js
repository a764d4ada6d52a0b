// The outbox: decisions on their way to the server. They are kept in the browser's storage until the server has
// answered, so that neither a reload nor a lost connection loses any; each has an id by which it is stored once.

const FIRST_WAIT_MS = 500, LONGEST_WAIT_MS = 10_000, MOST_AT_ONCE = 50;

/** A random UUID; crypto.randomUUID() exists on secure pages only. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/**
 * Sends items in order. An item is {kind: "decide", decision}, {kind: "group", id, members, verdict} or
 * {kind: "undo", id, position, verdict}; `verdict` is what the page shows until the answer comes.
 */
export class Outbox extends EventTarget {
  constructor(api, prefix) {
    super();
    this.api = api;
    this.prefix = `${prefix} `;
    this.key = this.prefix + newId();
    this.items = [];
    this.conflicts = []; // {mine: decision, theirs: decision of the server}
    this.refused = []; // {decision, reason}
    this.problem = "";
    this.attempts = 0;
    this.isSending = false;
    this.wake = null;
    this.adopt();
    addEventListener("online", () => this.wake?.());
    addEventListener("beforeunload", (event) => { if (this.items.length) event.preventDefault(); });
  }

  /** Takes over what an earlier load of the page left; sent twice, a decision is still stored once. */
  adopt() {
    for (const key of Object.keys(localStorage).filter((name) => name.startsWith(this.prefix))) {
      try {
        const left = JSON.parse(localStorage.getItem(key));
        this.items.push(...left.items);
        this.conflicts.push(...left.conflicts);
        this.refused.push(...left.refused);
      } catch { /* not ours */ }
      localStorage.removeItem(key);
    }
    this.keep();
  }

  keep() {
    const { items, conflicts, refused } = this;
    try {
      if (items.length || conflicts.length || refused.length) {
        localStorage.setItem(this.key, JSON.stringify({ items, conflicts, refused }));
      } else localStorage.removeItem(this.key);
    } catch { /* storage is full or forbidden: the page still warns before it is left */ }
    this.dispatchEvent(new Event("change"));
  }

  add(item) {
    this.items.push(item);
    this.keep();
    this.send();
  }

  /** What the page shows for a term before the server has answered; undefined for nothing. */
  pending(position) {
    for (let number = this.items.length - 1; number >= 0; number--) {
      const item = this.items[number];
      if (item.kind === "decide" && item.decision.position === position) {
        return { ...item.decision, version: item.decision.version + 1 };
      }
      if (item.kind === "undo" && item.position === position) return item.verdict;
      const member = item.kind === "group" && item.members.find((one) => one.position === position);
      if (member) return { ...item.verdict, version: member.version + 1 };
    }
    return undefined;
  }

  conflictOf(position) {
    return this.conflicts.find((one) => one.mine.position === position);
  }

  settleConflict(conflict) {
    this.conflicts = this.conflicts.filter((one) => one !== conflict);
    this.keep();
  }

  forgetRefused() {
    this.refused = [];
    this.keep();
  }

  async send() {
    if (this.isSending) return;
    this.isSending = true;
    let isSingle = false;
    while (this.items.length) {
      const batch = this.nextBatch(isSingle);
      try {
        const answer = await this.ask(batch);
        this.problem = "";
        this.attempts = 0;
        this.finish(batch, answer.results);
      } catch (error) {
        if (error.status === undefined) throw error; // a mistake of this page's
        if (error.isTemporary) {
          this.problem = error.message;
          this.dispatchEvent(new Event("change"));
          await this.pause();
        } else if (batch.length > 1) isSingle = true;
        else this.refuse(batch[0], error.message);
      }
    }
    this.isSending = false;
  }

  ask(batch) {
    const [first] = batch;
    if (first.kind === "undo") return this.api.undo(first.id);
    if (first.kind === "group") return this.api.decideGroup(first);
    return this.api.decide(batch.map((item) => item.decision));
  }

  /** The first items that may go in one request: decisions on different terms, or one other. */
  nextBatch(isSingle) {
    if (this.items[0].kind !== "decide" || isSingle) return this.items.slice(0, 1);
    const positions = new Set(), batch = [];
    for (const item of this.items) {
      if (item.kind !== "decide" || positions.has(item.decision.position) || batch.length === MOST_AT_ONCE) break;
      positions.add(item.decision.position);
      batch.push(item);
    }
    return batch;
  }

  finish(batch, results) {
    this.items = this.items.filter((item) => !batch.includes(item));
    for (const result of results) {
      const item = batch.find((one) => one.kind === "decide" && one.decision.position === result.position);
      if (result.stored === null && item) this.addConflict(item.decision, result.current);
      if (result.stored === null && batch[0].kind === "group") this.addConflict({ ...batch[0].verdict, position: result.position }, result.current);
    }
    this.dispatchEvent(new CustomEvent("answer", { detail: { batch, results } }));
    this.keep();
  }

  /** A later decision on the same term answered a version that never came to be: it is part of the conflict. */
  addConflict(decision, theirs) {
    const later = this.items.filter((item) => item.kind === "decide" && item.decision.position === decision.position);
    this.items = this.items.filter((item) => !later.includes(item));
    this.conflicts = this.conflicts.filter((one) => one.mine.position !== decision.position);
    this.conflicts.push({ mine: later.at(-1)?.decision ?? decision, theirs });
  }

  refuse(item, reason) {
    this.items.shift();
    this.refused.push({ decision: item.decision ?? null, reason });
    this.dispatchEvent(new CustomEvent("answer", { detail: { batch: [item], results: [] } }));
    this.keep();
  }

  pause() {
    const wait = Math.min(FIRST_WAIT_MS * 2 ** this.attempts++, LONGEST_WAIT_MS);
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, wait);
      this.wake = () => { clearTimeout(timer); resolve(); };
    });
  }
}
