// Coverage of the last weeks: one row a feed, one cell a day, its colour the share that was covered.
// Gaps and their causes are told where the pointer or the focus is; Enter or a click keeps them below the calendar.

import { counted, percent } from "./amounts.js";
import { DayDetail, inWords } from "./day_detail.js";
import { element, say } from "./element.js";

const RANGES = [5, 13];
// Below so large a share; the words are the legend's.
const LEVELS = [
  [0.5, "0", "below 50 %"],
  [0.95, "1", "below 95 %"],
  [0.99, "2", "below 99 %"],
  [0.999, "3", "below 99.9 %"],
  [1, "4", "below 100 %"],
  [Infinity, "5", "100 %"],
];
const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
const JUMPS = { Home: -1e4, End: 1e4, PageUp: -7, PageDown: 7 };

export class Calendar {
  weeks = RANGES[0];
  #open = new Map(); // feed: its gaps that are open now, from /status
  #told = null;
  #at = [0, Infinity]; // row and column of the cell that Tab leads to
  #cells = [];
  #summary = element("p", { class: "soft" }, "…");
  #grid = element("div", { class: "grid", role: "grid", "aria-labelledby": "coverage-title" });
  #scroller = element("div", { class: "scroller" }, this.#grid);
  #known = []; // what is shown when something is recorded
  #detail = new DayDetail();

  constructor(ask) {
    const choice = element("div", { class: "row choice", role: "group", "aria-label": "Weeks shown" });
    for (const weeks of RANGES) {
      const button = element("button", { type: "button", class: "quiet small", "aria-pressed": weeks === this.weeks });
      button.append(`${weeks} weeks`);
      button.addEventListener("click", () => {
        this.weeks = weeks;
        for (const other of choice.children) other.setAttribute("aria-pressed", other === button);
        ask(weeks).catch(() => {}); // told in the calendar already
      });
      button.setAttribute("aria-pressed", weeks === this.weeks);
      choice.append(button);
    }
    const title = element("div", {}, element("h2", { id: "coverage-title" }, "Coverage"), this.#summary);
    this.root = element("section", { class: "card calendar", "aria-labelledby": "coverage-title" });
    this.#known.push(choice, this.#scroller, legend());
    this.root.append(element("div", { class: "row between" }, title, choice), ...this.#known.slice(1));
    this.root.append(this.#detail.root, this.#detail.tip);
    for (const part of this.#known) part.hidden = true;
    this.#grid.addEventListener("keydown", (event) => this.#key(event));
    this.#grid.addEventListener("pointerover", (event) => this.#point(event.target));
    this.#grid.addEventListener("pointerleave", () => this.#detail.hideTip());
    this.#grid.addEventListener("focusin", (event) => this.#point(event.target));
    this.#grid.addEventListener("focusout", () => this.#detail.hideTip());
    this.#grid.addEventListener("click", (event) => this.#pin(event.target));
    this.#scroller.addEventListener("scroll", () => this.#detail.hideTip());
  }

  get isEmpty() {
    return !this.#told?.feeds.length;
  }

  failed(sentence) {
    if (this.#told === null) say(this.#summary, sentence);
  }

  // Gaps that are open now are seen at once: what the recording tells is some seconds old.
  live(facts) {
    this.#open.clear();
    for (const feed of facts.running ? Object.values(facts.recorder?.feeds ?? {}) : []) {
      if (feed.gap) this.#open.set(feed.feed, [...(this.#open.get(feed.feed) ?? []), feed]);
    }
    for (const [at, row] of this.#cells.entries()) {
      row.at(-1)?.classList.toggle("open", this.#open.has(this.#told.feeds[at].feed));
    }
  }

  show(told) {
    if (JSON.stringify(told) === JSON.stringify(this.#told)) return;
    const focused = this.#grid.contains(document.activeElement);
    const wider = told.days.length !== this.#told?.days.length;
    this.#told = told;
    for (const part of this.#known) part.hidden = told.feeds.length === 0;
    say(this.#summary, told.feeds.length === 0 ? "Nothing is recorded yet: days appear with the first message." : summary(told));
    this.#grid.style.setProperty("--days", told.days.length);
    this.#grid.setAttribute("aria-rowcount", told.feeds.length);
    this.#cells = told.feeds.map((feed) => told.days.map((day, column) => cell(feed, day, column)));
    this.#grid.replaceChildren(
      heads(told.days),
      ...told.feeds.map((feed, at) => {
        const named = { class: "feed-name", role: "rowheader", title: feed.kind, elementtiming: "coverage" };
        const name = element("span", named, feed.feed);
        return element("div", { class: "line", role: "row" }, name, ...this.#cells[at]);
      }),
    );
    if (told.feeds.length > 0) this.#move(...this.#at, focused);
    if (wider) this.#scroller.scrollLeft = this.#scroller.scrollWidth;
    this.#detail.renew(told);
  }

  #of(target) {
    for (const [row, cells] of this.#cells.entries()) {
      const column = cells.indexOf(target);
      if (column >= 0) return [row, column];
    }
    return null;
  }

  #point(target) {
    const at = this.#of(target);
    if (at === null) return this.#detail.hideTip();
    if (target === document.activeElement) this.#move(...at, false);
    this.#detail.showTip(target, this.#told.feeds[at[0]], this.#told.days[at[1]]);
  }

  #pin(target) {
    const at = this.#of(target);
    if (at === null) return;
    this.#move(...at, true);
    this.#detail.pin(this.#told.feeds[at[0]], this.#told.days[at[1]]);
  }

  #key(event) {
    const at = this.#of(event.target);
    if (at === null) return;
    if (event.key === "Escape") return this.#detail.hideTip();
    if (event.key === "Enter" || event.key === " ") this.#pin(event.target);
    else if (event.key in STEPS) this.#move(at[0] + STEPS[event.key][0], at[1] + STEPS[event.key][1], true);
    else if (event.key in JUMPS) this.#move(at[0], at[1] + JUMPS[event.key], true);
    else return;
    event.preventDefault();
  }

  #move(row, column, focus) {
    for (const cells of this.#cells) for (const its of cells) its.tabIndex = -1;
    const rows = this.#cells;
    this.#at = [Math.max(0, Math.min(row, rows.length - 1)), Math.max(0, Math.min(column, rows[0].length - 1))];
    const target = rows[this.#at[0]][this.#at[1]];
    target.tabIndex = 0;
    if (focus) target.focus();
  }
}

function level(its) {
  if (its === undefined || its.seconds <= 0) return "none";
  return LEVELS.find(([below]) => its.covered_s / its.seconds < below)[1];
}

function cell(feed, day, column) {
  const its = feed.days[day];
  return element("div", {
    class: "cell", role: "gridcell", tabindex: "-1", "data-level": level(its), "aria-colindex": column + 1,
    "aria-label": inWords(feed, day).join(", "),
  }); // prettier-ignore
}

// Mondays by their date, so that weeks can be told apart; the last day by its own.
function heads(days) {
  const marks = days.map((day, at) => {
    const date = new Date(`${day}T00:00Z`);
    const isMonday = date.getUTCDay() === 1 && at < days.length - 3;
    const text = isMonday ? date.toLocaleDateString("en-GB", { day: "numeric", month: "short", timeZone: "UTC" }) : "";
    return element("span", { class: isMonday ? "head monday" : "head" }, element("span", {}, text));
  });
  return element("div", { class: "line heads", "aria-hidden": "true" }, element("span"), ...marks);
}

function summary(told) {
  let seconds = 0;
  let covered = 0;
  let gaps = 0;
  for (const feed of told.feeds) {
    for (const day of Object.values(feed.days)) {
      seconds += day.seconds;
      covered += day.covered_s;
      gaps += day.gaps;
    }
  }
  if (seconds === 0) return "The first day has only begun.";
  const weeks = counted(told.days.length / 7, "week");
  return `${percent(covered / seconds)} covered in ${weeks}, ${gaps ? counted(gaps, "gap") : "no gap"}. Days are UTC.`;
}

function legend() {
  const items = [["none", "not recorded"], ...LEVELS.map(([, name, words]) => [name, words])];
  const shown = items.map(([name, words]) => {
    const swatch = element("span", { class: "swatch", "data-level": name, "aria-hidden": "true" });
    return element("span", { class: "key" }, swatch, words);
  });
  return element("div", { class: "legend soft small" }, ...shown);
}
