// One feed's day: as a tip beside its cell, and kept below the calendar with ways into the player.

import { bytes, counted, percent } from "./amounts.js";
import { element } from "./element.js";
import { clock, day as dayOf, lengthOf } from "./moments.js";

const MARGIN = 8; // px between a cell, its tip and the window's edge
const BEFORE_MS = 30_000; // what is heard before a gap

export class DayDetail {
  tip = element("div", { class: "tip", role: "tooltip", id: "day-tip", hidden: true });
  root = element("div", { class: "day-detail", "aria-live": "polite", hidden: true });
  #pinned = null;
  #cell = null;

  showTip(cell, feed, day) {
    this.#cell?.removeAttribute("aria-describedby");
    this.#cell = cell;
    cell.setAttribute("aria-describedby", this.tip.id);
    const [title, ...lines] = inWords(feed, day);
    this.tip.replaceChildren(element("strong", {}, title), ...lines.map((line) => element("div", {}, line)), gaps(feed, day));
    this.tip.hidden = false;
    const at = cell.getBoundingClientRect();
    const size = this.tip.getBoundingClientRect();
    const left = Math.max(MARGIN, Math.min(at.left + at.width / 2 - size.width / 2, innerWidth - size.width - MARGIN));
    const above = at.top - size.height - MARGIN;
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${above > MARGIN ? above : at.bottom + MARGIN}px`;
  }

  hideTip() {
    this.#cell?.removeAttribute("aria-describedby");
    this.#cell = null;
    this.tip.hidden = true;
  }

  pin(feed, day) {
    this.#pinned = [feed.feed, day];
    const [title, ...lines] = inWords(feed, day);
    const close = element("button", { class: "quiet", type: "button", "aria-label": "Close", onclick: () => this.#unpin() }, "✕");
    const parts = [element("div", { class: "row between" }, element("h3", {}, title), close)];
    parts.push(element("p", { class: "soft" }, lines.join(" · ")), gaps(feed, day, true));
    if (feed.days[day] !== undefined) {
      parts.push(element("a", { href: player(feed, Date.parse(`${day}T00:00Z`), 86_400_000) }, "Play this day"));
    }
    this.root.replaceChildren(...parts);
    this.root.hidden = false;
    this.hideTip();
  }

  // The same day, as it is told now.
  renew(told) {
    const feed = told.feeds.find((each) => each.feed === this.#pinned?.[0]);
    if (feed !== undefined) this.pin(feed, this.#pinned[1]);
    else this.#unpin();
  }

  #unpin() {
    this.#pinned = null;
    this.root.hidden = true;
  }
}

// A feed's day in lines of words: its title, its share, its amounts.
export function inWords(feed, day) {
  const its = feed.days[day];
  const date = new Date(`${day}T00:00Z`).toLocaleDateString("en-GB", {
    weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC",
  }); // prettier-ignore
  const title = `${feed.feed} · ${date}`;
  if (its === undefined || its.seconds <= 0) return [title, its === undefined ? "not recorded" : "has only begun"];
  const of = lengthOf((its.seconds / feed.channels) * 1000);
  const gaps = its.gaps ? counted(its.gaps, "gap") : "no gap";
  const amounts = `${counted(its.messages, "message")}, ${bytes(its.bytes)}`;
  return [title, `${percent(its.covered_s / its.seconds)} of ${of} covered, ${gaps}`, amounts];
}

function gaps(feed, day, linked = false) {
  const its = feed.days[day];
  if (its === undefined || its.gaps === 0) return null;
  const lines = its.listed.map((gap) => {
    const until = gap.until_ms === null ? "now" : shown(gap.until_ms, day);
    const length = gap.until_ms === null ? "open" : lengthOf(gap.until_ms - gap.since_ms);
    const times = element("span", { class: "number" }, `${shown(gap.since_ms, day)} – ${until}`);
    const channel = gap.channel ? ` · ${gap.channel}` : "";
    const line = element("li", {}, times, ` · ${length} · `, element("em", {}, gap.cause ?? "unknown"), channel);
    if (gap.repair) line.append(element("span", { class: "soft" }, ` · filled: ${gap.repair}`));
    if (linked) line.append(" ", element("a", { href: player(feed, gap.since_ms - BEFORE_MS, 4 * BEFORE_MS) }, "play"));
    return line;
  });
  const left = its.gaps - its.listed.length;
  if (left > 0) lines.push(element("li", { class: "soft" }, `and ${left} shorter`));
  return element("ul", { class: "gap-list" }, ...lines);
}

// The time of day, with the date where it is another one.
function shown(ms, day) {
  return dayOf(ms) === day ? clock(ms) : `${dayOf(ms).slice(5)} ${clock(ms)}`;
}

function player(feed, fromMs, lengthMs) {
  const query = new URLSearchParams({ from: new Date(fromMs).toISOString(), to: new Date(fromMs + lengthMs).toISOString() });
  return `#player?${query}`;
}
