// Figures: received to durable, lateness, disk and seals, jobs, replays.

import { bytes, count, counted, three } from "./amounts.js";
import { element } from "./element.js";
import { lengthOf } from "./moments.js";

const TABLES_MAX = 6;
const MOMENTS = { published: "since published", indexed: "since indexed", revised: "since revised", clock: "by its clock" };

export class Cards {
  #facts = null;
  #sizes = null;
  #durable = card("Received to durable");
  #lateness = card("Lateness");
  #disk = card("Disk and seals");
  #jobs = card("Jobs");
  #replay = card("Replays");

  constructor() {
    this.root = element("div", { class: "cards" });
    this.root.append(...[this.#durable, this.#lateness, this.#disk, this.#jobs, this.#replay].map((each) => each.root));
    this.root.hidden = true;
  }

  show(facts) {
    this.#facts = facts;
    this.root.hidden = !facts.running && facts.recorded === null; // then the verdict says all there is to say
    const told = facts.recorder;
    for (const of of [this.#durable, this.#jobs]) of.root.hidden = told === null; // where none has ever run
    if (told !== null) {
      this.#showDurable(told.journal);
      this.#showJobs(told.jobs, facts);
    }
    this.#showReplay(facts.replay);
    this.#showDisk();
  }

  showSizes(sizes) {
    this.#sizes = sizes;
    this.#showDisk();
  }

  showLateness(rows) {
    if (rows.length === 0) {
      return this.#lateness.say("In the recording's last 24 hours no upstream has said when what it sent had happened.");
    }
    const lines = rows.map((row) => [`${row.feed} ${MOMENTS[row.moment] ?? row.moment}`, seconds(row.p50_s), seconds(row.p99_s)]);
    const note = "From the moment an upstream states to here, by two machines' clocks, in the last 24 hours.";
    this.#lateness.table(["", "half", "99 %"], lines, note);
  }

  #showDurable(journal) {
    const lines = [
      ["one commit, 99 %", `${three(journal.commit_ms_p99)} ms`],
      ["waiting to be durable", bytes(journal.buffered_bytes)],
      ["commits", count(journal.groups) + (journal.commits_failed ? `, ${count(journal.commits_failed)} failed` : "")],
      ["sockets held back", counted(journal.under_pressure_times, "time")],
    ];
    this.#durable.put(
      element("div", { class: "bigs" }, big(three(journal.durable_ms_p50), "ms", "half of all"), big(three(journal.durable_ms_p99), "ms", "99 % of all")),
      histogram(journal.histograms?.received_to_durable, journal.commit_interval_ms),
      pairs(lines),
    );
  }

  #showDisk() {
    const sizes = this.#sizes;
    const disk = this.#facts?.recorder?.disk;
    if (sizes === null) return;
    const recorded = sizes.tables.reduce((sum, table) => sum + table.bytes, 0);
    const parts = [element("div", { class: "bigs" }, big(...bytes(recorded).split(" "), "recorded"), disk && big(...bytes(disk.free_bytes).split(" "), "free"))];
    if (disk) {
      const whole = recorded + disk.free_bytes;
      const part = (name, size) => element("span", { class: name, style: { "flex-grow": String(size / whole) } });
      const bar = element("div", { class: "bar-of", "aria-hidden": "true" });
      bar.append(part("used", recorded), part("free", disk.free_bytes - disk.reserve_bytes), part("reserve", disk.reserve_bytes));
      parts.push(bar, element("p", { class: "soft small" }, `Recording halts, cleanly, below ${bytes(disk.reserve_bytes)}.`));
    }
    const unsealed = counted(sizes.unsealed, "message");
    const sealed = sizes.last_sealed_ms === null ? "never" : ago(Date.now() - sizes.last_sealed_ms);
    const lines = [["last seal", sealed], ["not sealed yet", unsealed]];
    if (sizes.lost) lines.push(["lost", counted(sizes.lost, "message")]);
    parts.push(pairs(lines));
    if (sizes.tables.length > 0) {
      const rows = sizes.tables.slice(0, TABLES_MAX).map((table) => [table.table, count(table.rows), count(table.parts), bytes(table.bytes)]);
      const rest = sizes.tables.slice(TABLES_MAX);
      if (rest.length > 0) rows.push([`${rest.length} more`, "", "", bytes(rest.reduce((sum, table) => sum + table.bytes, 0))]);
      parts.push(table(["table", "rows", "files", "size"], rows));
    }
    this.#disk.put(...parts);
  }

  #showJobs(jobs, facts) {
    if (jobs.length === 0) return this.#jobs.say("No job is planned.");
    const now = facts.written_ns / 1e6;
    const rows = jobs.map((job) => {
      const inMs = job.next ? Date.parse(job.next) - now : null;
      const next = !facts.running || inMs === null ? "–" : inMs < 1000 ? "now" : `in ${coarse(inMs)}`;
      const last = !job.runs ? "never" : job.last_ns ? ago(now - job.last_ns / 1e6) : "ran";
      const shown = hasFailed(job) ? element("span", { class: "bad-text" }, `${last}, failed`) : last;
      return [job.job, shown, job.runs ? lengthOf(job.last_s * 1000) : "–", next];
    });
    this.#jobs.table(["job", "last run", "took", "next"], rows, jobs.filter(hasFailed).map((job) => `${job.job}: ${job.last_outcome}`).join("\n"));
  }

  #showReplay(replay) {
    const lines = [
      ["clients", `${count(replay.clients)} of ${count(replay.limits.listeners_max)}`],
      ["sessions", `${count(replay.sessions.length)} of ${count(replay.limits.sessions_max)}`],
      ["messages sent", count(replay.messages_sent_total)],
      ["turned away", count(replay.turned_away_total)],
    ];
    const rows = replay.sessions.map((each, at) => [each.name ?? `#${at + 1}`, each.status, each.speed === "max" ? "max" : `${three(each.speed)} ×`, counted(each.listeners, "listener")]);
    this.#replay.put(pairs(lines), rows.length > 0 ? table(["session", "status", "speed", ""], rows) : "");
  }
}

function card(title) {
  const body = element("div", { class: "card-body" });
  const root = element("section", { class: "card" }, element("h2", {}, title), body);
  const put = (...children) => body.replaceChildren(...children.filter((child) => child));
  const note = (text) => (text ? element("p", { class: "soft small note" }, text) : null);
  return {
    root,
    put,
    say: (text) => (body.textContent === text ? undefined : put(element("p", { class: "soft" }, text))),
    table: (heads, rows, text) => put(table(heads, rows), note(text)),
  };
}

function table(heads, rows) {
  const side = (at) => (at === 0 ? null : "number");
  const head = element("tr", {}, ...heads.map((text, at) => element("th", { scope: "col", class: side(at) }, text)));
  const lines = rows.map((row) => element("tr", {}, ...row.map((cell, at) => element(at === 0 ? "th" : "td", { class: side(at), scope: at === 0 ? "row" : null }, cell))));
  return element("table", { class: "small" }, element("thead", {}, head), element("tbody", {}, ...lines));
}

function pairs(lines) {
  return element("dl", { class: "pairs" }, ...lines.flatMap(([name, value]) => [element("dt", {}, name), element("dd", { class: "number" }, value)]));
}

function big(number, unit, label) {
  return element("div", { class: "big" }, element("span", { class: "big-number" }, number, element("small", {}, ` ${unit}`)), element("span", { class: "soft small" }, label));
}

// How many took how long: a bar for each bound that is reached, and a mark behind one commit interval.
function histogram(told, intervalMs) {
  if (told === undefined || told.at_most.at(-1) === 0) return null;
  const counts = told.at_most.map((sum, at) => sum - (told.at_most[at - 1] ?? 0));
  const marked = told.bounds_s.findIndex((bound) => bound * 1000 >= intervalMs);
  const first = Math.min(counts.findIndex((number) => number > 0), marked);
  const last = Math.max(counts.findLastIndex((number) => number > 0), marked);
  const top = Math.max(...counts);
  const bars = counts.slice(first, last + 1).map((number, at) => {
    const height = number === 0 ? "0" : `max(2px, ${100 * Math.sqrt(number / top)}%)`; // the root: else no tail is seen
    return element("span", { class: first + at === marked ? "bin marked" : "bin", style: { "--height": height } });
  });
  const bound = (at) => lengthOf((told.bounds_s[at] ?? told.bounds_s.at(-1)) * 1000);
  const ends = [element("span", {}, `≤ ${bound(first)}`), element("span", {}, `one commit interval: ${three(intervalMs)} ms`)];
  ends.push(element("span", {}, `≤ ${bound(last)}`));
  const words = element("div", { class: "row between soft small" }, ...ends);
  return element("div", { "aria-hidden": "true" }, element("div", { class: "bins" }, ...bars), words);
}

const hasFailed = (job) => job.last_outcome !== "ok" && job.last_outcome !== "not run yet";

// Without what is below its first unit: a table of jobs is no countdown.
const coarse = (ms) => lengthOf(Math.max(0, ms)).split(" ").slice(0, 2).join(" ");
const ago = (ms) => (ms < 2000 ? "just now" : `${coarse(ms)} ago`);

const seconds = (s) => `${s < 0 ? "−" : ""}${lengthOf(Math.abs(s) * 1000)}`;
