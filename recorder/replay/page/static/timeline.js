// The range as a strip: how many messages came when, the gaps below, the playhead over both. Seeks where it is pressed.

import { lengthOf, moment } from "./moments.js";
import { colour } from "./theme.js";

// Drawn from below, in this order; what is neither news nor quotes is the rest.
export const GROUPS = [
  { name: "news", colour: "--player-news", has: (kind) => kind.startsWith("finlight") },
  { name: "quotes", colour: "--player-quotes", has: (kind) => kind === "finance_query.quotes" },
  { name: "other feeds", colour: "--player-other", has: () => true },
];
const LANE_PX = 9;
const LANES_MAX = 6;
const GAPS_SHOWN_MAX = 240; // the longest: each is an element that can be focused
const SEEK_EVERY_MS = 200; // while the pointer is down: the server takes so many operations a second, and no more

export class Timeline {
  // `root` has .strip (the slider), .strip canvas, .ahead, .playhead, .lanes and .gap-tip; `seek(ms)` goes there
  constructor(root, seek) {
    this.root = root;
    this.seek = seek;
    this.strip = root.querySelector(".strip");
    this.canvas = root.querySelector("canvas");
    this.ahead = root.querySelector(".ahead");
    this.head = root.querySelector(".playhead");
    this.lanes = root.querySelector(".lanes");
    this.tip = root.querySelector(".gap-tip");
    this.range = { fromMs: 0, toMs: 1 };
    this.density = null;
    this.sought = 0;
    this.listen();
  }

  set(range) {
    this.range = range;
    this.strip.setAttribute("aria-valuemin", Math.floor(range.fromMs / 1000));
    this.strip.setAttribute("aria-valuemax", Math.ceil(range.toMs / 1000));
  }

  // The answer of /page/density.json
  show(density) {
    this.density = density;
    this.draw();
    this.showGaps(density.gaps);
  }

  at(ms) {
    return (ms - this.range.fromMs) / (this.range.toMs - this.range.fromMs);
  }

  playhead(ms) {
    const at = Math.min(1, Math.max(0, this.at(ms)));
    this.head.style.left = `${at * 100}%`;
    this.ahead.style.left = `${at * 100}%`;
    const second = Math.round(ms / 1000);
    if (second !== this.second) {
      this.second = second;
      this.strip.setAttribute("aria-valuenow", second);
      this.strip.setAttribute("aria-valuetext", `${moment(ms)} UTC`);
    }
  }

  draw() {
    const { canvas, density } = this;
    const wide = canvas.clientWidth, high = canvas.clientHeight, fine = devicePixelRatio || 1;
    if (density === null || wide === 0) return;
    canvas.width = Math.round(wide * fine);
    canvas.height = Math.round(high * fine);
    const pen = canvas.getContext("2d");
    pen.scale(fine, fine);
    const count = Math.round((density.to_ms - density.from_ms) / density.bucket_ms);
    const sums = GROUPS.map(() => new Float64Array(count + 1));
    for (const [kind, messages] of Object.entries(density.kinds)) {
      const sum = sums[GROUPS.findIndex((group) => group.has(kind))];
      messages.forEach((many, bucket) => { sum[bucket] += many; });
    }
    const totals = sums[0].map((_, bucket) => sums.reduce((all, sum) => all + sum[bucket], 0));
    const most = Math.max(1, ...totals);
    const colours = GROUPS.map((group) => colour(group.colour));
    const left = this.at(density.from_ms) * wide;
    const step = (density.bucket_ms / (this.range.toMs - this.range.fromMs)) * wide;
    totals.forEach((total, bucket) => {
      if (total === 0) return;
      // By the square root: what is quiet is still seen beside what is not.
      const tall = Math.max(2, Math.sqrt(total / most) * (high - 4));
      let top = high;
      sums.forEach((sum, group) => {
        const part = (sum[bucket] / total) * tall;
        pen.fillStyle = colours[group];
        pen.fillRect(left + bucket * step, top - part, Math.max(0.8, step - (step > 3 ? 1 : 0)), part);
        top -= part;
      });
    });
  }

  showGaps(gaps) {
    const long = (gap) => (gap.until_ms ?? this.range.toMs) - gap.since_ms;
    const shown = [...gaps].sort((one, other) => long(other) - long(one)).slice(0, GAPS_SHOWN_MAX);
    shown.sort((one, other) => one.since_ms - other.since_ms);
    const feeds = [...new Set(shown.map((gap) => gap.feed))].sort();
    this.lanes.replaceChildren();
    this.lanes.style.height = `${Math.min(feeds.length, LANES_MAX) * LANE_PX + (feeds.length ? 4 : 0)}px`;
    shown.forEach((gap, index) => {
      const from = Math.max(0, this.at(gap.since_ms)), to = Math.min(1, this.at(gap.until_ms ?? this.range.toMs));
      const mark = document.createElement("button");
      mark.type = "button";
      mark.className = gap.cause === "start" ? "gap start" : "gap";
      mark.tabIndex = index === 0 ? 0 : -1;
      mark.style.left = `min(${from * 100}%, calc(100% - 4px))`;
      mark.style.width = `max(4px, ${(to - from) * 100}%)`;
      mark.style.top = `${(feeds.indexOf(gap.feed) % LANES_MAX) * LANE_PX + 3}px`;
      const words = described(gap);
      mark.setAttribute("aria-label", words);
      mark.addEventListener("click", () => this.seek(gap.since_ms));
      for (const event of ["focus", "pointerenter"]) mark.addEventListener(event, () => this.tell(words, (from + to) / 2));
      for (const event of ["blur", "pointerleave"]) mark.addEventListener(event, () => this.tell(""));
      this.lanes.append(mark);
    });
  }

  tell(words, at = 0) {
    this.tip.hidden = words === "";
    this.tip.textContent = words;
    if (!words) return;
    const wide = this.lanes.clientWidth, half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(Math.max(at * wide, half), Math.max(half, wide - half))}px`;
  }

  listen() {
    let last = 0;
    const to = (event, always) => {
      const box = this.strip.getBoundingClientRect();
      const at = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      const ms = this.range.fromMs + at * (this.range.toMs - this.range.fromMs);
      this.playhead(ms);
      if (!always && performance.now() - last < SEEK_EVERY_MS) return;
      last = performance.now();
      this.seek(ms);
    };
    this.strip.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      this.strip.setPointerCapture(event.pointerId);
      this.held = true;
      to(event, true);
    });
    this.strip.addEventListener("pointermove", (event) => { if (this.held) to(event, false); });
    this.strip.addEventListener("pointerup", (event) => { if (this.held) { this.held = false; to(event, true); } });
    this.strip.addEventListener("pointercancel", () => { this.held = false; });
    // Among the gaps the arrows go from one to the next; elsewhere they seek.
    this.lanes.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const marks = [...this.lanes.children], next = marks[marks.indexOf(event.target) + step];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      if (next === undefined) return;
      event.target.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }
}

export function described(gap) {
  const what = gap.channel ? `${gap.feed}/${gap.channel}` : gap.feed;
  const since = `${moment(gap.since_ms)} UTC`;
  if (gap.until_ms === null) return `Gap of ${what} since ${since}, still open: ${gap.cause}`;
  return `Gap of ${what}, ${lengthOf(gap.until_ms - gap.since_ms)} from ${since}: ${gap.cause}`;
}
