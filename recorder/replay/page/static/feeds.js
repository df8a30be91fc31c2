// The feeds now: state, rate, age of the last data. One row a feed; one with several channels opens to show them.

import { count, perSecond } from "./amounts.js";
import { element, prose, say } from "./element.js";
import { lengthOf } from "./moments.js";

const SAMPLES_MAX = 60; // of a second each, as the recorder tells
const RATE_OVER = 10;
const NONE = "No feed is in the settings: name one below `[feeds]` in config.toml and `recorder check` it.";

export class Feeds {
  #rows = new Map();
  #body = element("tbody");
  #note = element("p", { class: "soft empty" }, ...prose(NONE));
  #table;
  #open = new Set();

  constructor() {
    const heads = ["Feed", "State", "Rate", "Last data", "Messages", "Rotations", "Reconnects"];
    const cells = heads.map((head, at) => element("th", { scope: "col", class: at > 1 ? "number" : null }, head));
    this.#table = element("table", { class: "feeds" }, element("thead", {}, element("tr", {}, ...cells)), this.#body);
    this.root = element("section", { class: "card", "aria-labelledby": "feeds-title", hidden: true });
    this.root.append(element("h2", { id: "feeds-title" }, "Feeds"), this.#table, this.#note);
  }

  show(facts) {
    const told = facts.recorder;
    const names = Object.keys(told?.feeds ?? {});
    this.#table.hidden = names.length === 0;
    this.#note.hidden = names.length > 0;
    this.root.hidden = !facts.running && told === null; // then there is nothing to tell but the recording itself
    const groups = Map.groupBy(names, (name) => told.feeds[name].feed);
    const wanted = new Set();
    for (const [feed, its] of groups) {
      const channels = its.map((name) => ({ name, ...told.feeds[name] }));
      this.#row(wanted, feed, summed(feed, channels), told, facts, channels.length > 1 ? channels.length : 0);
      if (channels.length > 1) {
        for (const channel of channels) this.#row(wanted, channel.name, channel, told, facts, 0, feed);
      }
    }
    for (const [name, row] of this.#rows) {
      if (!wanted.has(name)) {
        row.root.remove();
        this.#rows.delete(name);
      }
    }
  }

  #row(wanted, name, feed, told, facts, channels, parent = null) {
    wanted.add(name);
    let row = this.#rows.get(name);
    if (row === undefined) {
      row = new Row(name, feed, channels, parent, () => this.#toggle(name));
      this.#rows.set(name, row);
      this.#body.append(row.root);
    }
    row.show(feed, told, facts);
    if (parent !== null) row.root.hidden = !this.#open.has(parent);
  }

  #toggle(name) {
    if (!this.#open.delete(name)) this.#open.add(name);
    for (const row of this.#rows.values()) if (row.parent === name) row.root.hidden = !this.#open.has(name);
    return this.#open.has(name);
  }
}

class Row {
  #samples = []; // [recorder's time in s, messages]
  #state = element("span", { class: "state" });
  #why = element("span", { class: "why soft small" });
  #rate = element("span");
  #line = element("polyline", { fill: "none", "stroke-linejoin": "round" });
  #cells = {};

  constructor(name, feed, channels, parent, toggle) {
    this.parent = parent;
    const title = parent === null ? feed.feed : feed.channel;
    const head = element("th", { scope: "row" }, element("span", { class: "feed-name" }, title));
    if (channels > 0) {
      const button = element("button", { class: "quiet small", type: "button", "aria-expanded": "false" });
      button.append(`${channels} channels`);
      button.addEventListener("click", () => button.setAttribute("aria-expanded", String(toggle())));
      head.append(button);
    } else if (parent === null) head.append(element("span", { class: "soft small" }, feed.kind));
    const spark = element("svg", { class: "spark", viewBox: "0 0 60 16", preserveAspectRatio: "none" }, this.#line);
    spark.setAttribute("aria-hidden", "true");
    const number = (key, label) => {
      this.#cells[key] = element("span");
      return element("td", { class: "number", "data-label": label }, this.#cells[key]);
    };
    this.root = element(
      "tr",
      { class: parent === null ? null : "channel" },
      head,
      element("td", { "data-label": "State" }, this.#state, this.#why),
      element("td", { class: "number rate", "data-label": "Rate" }, spark, this.#rate),
      number("last", "Last data"),
      number("messages", "Messages"),
      number("rotations", "Rotations"),
      number("reconnects", "Reconnects"),
    );
  }

  show(feed, told, facts) {
    const [tone, state, why] = stateOf(feed, facts);
    this.#state.dataset.tone = tone;
    say(this.#state, state);
    say(this.#why, why);
    this.#count(told.written_ns / 1e9, feed.messages);
    const rate = facts.running ? this.#perSecond() : null;
    say(this.#rate, rate === null ? "–" : perSecond(rate));
    say(this.#cells.last, feed.last_data_ns ? ago((facts.written_ns - feed.last_data_ns) / 1e6) : "–");
    for (const key of ["messages", "rotations", "reconnects"]) say(this.#cells[key], count(feed[key]));
  }

  #count(at, messages) {
    const last = this.#samples.at(-1);
    if (last && (messages < last[1] || at - last[0] > 30)) this.#samples.length = 0; // another run, or we looked away
    if (last && at <= last[0]) return;
    this.#samples.push([at, messages]);
    if (this.#samples.length > SAMPLES_MAX + 1) this.#samples.shift();
    const rates = this.#samples.slice(1).map(([s, n], i) => (n - this.#samples[i][1]) / (s - this.#samples[i][0]));
    const top = Math.max(1e-9, ...rates);
    const from = SAMPLES_MAX - rates.length;
    this.#line.setAttribute("points", rates.map((rate, i) => `${from + i},${15 - (14 * rate) / top}`).join(" "));
  }

  #perSecond() {
    const some = this.#samples.slice(-RATE_OVER - 1);
    if (some.length < 2) return null;
    return (some.at(-1)[1] - some[0][1]) / (some.at(-1)[0] - some[0][0]);
  }
}

function summed(feed, channels) {
  if (channels.length === 1) return channels[0];
  const sum = (key) => channels.reduce((total, channel) => total + channel[key], 0);
  const worst = (key) => channels.find((channel) => channel[key]);
  return {
    ...channels[0],
    feed,
    channel: "",
    state: (worst("gap") ?? channels[0]).state,
    gap: worst("gap")?.gap ?? null,
    unusual_silence_s: worst("unusual_silence_s")?.unusual_silence_s ?? 0,
    last_data_ns: Math.max(...channels.map((channel) => channel.last_data_ns ?? 0)),
    messages: sum("messages"),
    rotations: sum("rotations"),
    reconnects: sum("reconnects"),
  };
}

// tone, word, why
function stateOf(feed, facts) {
  if (!facts.running) return ["idle", "not recorded", ""];
  if (feed.gap) {
    const length = lengthOf(Math.max(0, (facts.written_ns - feed.gap.since_ns) / 1e6));
    return ["bad", "gap", `${feed.gap.cause}, for ${length}`];
  }
  if (feed.unusual_silence_s) return ["warn", "silent", `unusual for this hour: ${lengthOf(feed.unusual_silence_s * 1000)}`];
  return ["good", feed.state, ""];
}

// What is told each second is not told in milliseconds.
function ago(ms) {
  return ms < 2000 ? "just now" : `${lengthOf(Math.floor(ms / 1000) * 1000)} ago`;
}
