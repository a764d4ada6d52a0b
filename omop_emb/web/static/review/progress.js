// Progress: how far the review is, how fast this person decides, and how long the rest takes.

import { byId, count } from "./dom.js";

const STORED = "omop-emb review times", MOST = 200;
const PAUSE_MS = 5 * 60_000; // a longer gap is a pause and no work
const SETTLED = new Set(["approved", "no match", "ignored"]);
const FEWEST = 3; // decisions from which a speed is told

export class Progress {
  constructor() {
    this.answer = null;
    this.times = [];
    try {
      this.times = JSON.parse(sessionStorage.getItem(STORED)) ?? [];
    } catch { /* none */ }
  }

  decided() {
    this.times = [...this.times.slice(1 - MOST), Date.now()];
    try {
      sessionStorage.setItem(STORED, JSON.stringify(this.times));
    } catch { /* the speed is told until the page is left */ }
  }

  /** Decisions an hour without pauses; 0 while too few were made. */
  speed() {
    let gaps = 0, worked = 0;
    for (let number = 1; number < this.times.length; number++) {
      const gap = this.times[number] - this.times[number - 1];
      if (gap < PAUSE_MS) { gaps++; worked += gap; }
    }
    return gaps < FEWEST - 1 ? 0 : (gaps * 3_600_000) / Math.max(worked, 1);
  }

  /** Counts a decision before the server does. */
  move(before, after) {
    if (!this.answer || before === after) return;
    const { counts } = this.answer;
    counts[before] = Math.max(0, counts[before] - 1);
    counts[after] += 1;
    this.answer.decided += Number(SETTLED.has(after)) - Number(SETTLED.has(before));
  }

  show() {
    if (!this.answer) return;
    const { counts, total, decided } = this.answer, speed = this.speed();
    const bar = byId("progress-bar");
    bar.max = Math.max(1, total);
    bar.value = decided;
    const parts = [`${count(decided)} of ${count(total)} decided`];
    if (counts.flagged) parts.push(`${count(counts.flagged)} flagged`);
    if (speed) parts.push(`${count(Math.round(speed))} an hour`, timeLeft((total - decided) / speed));
    byId("progress-text").textContent = parts.join(" · ");
  }
}

function timeLeft(hours) {
  const minutes = Math.ceil(60 * hours);
  if (minutes < 1) return "done";
  if (minutes < 90) return `about ${minutes} min left`;
  return `about ${count(Math.round(hours * 2) / 2)} h left`;
}
