// The player: a range of the recording, played over /replay: prices as a chart, the news as marks on it and beside it.
//
// What is drawn ahead of the playhead, or was jumped over, is asked for in so many points (/page/*.json); what was
// played comes from the replay itself. Both are bounded, and drawn once a frame at most.

import { ask } from "./ask.js";
import { Articles } from "./articles.js";
import { Chart } from "./chart.js";
import { keys, wire } from "./controls.js";
import { listen } from "./keys.js";
import { LAYOUT, SPEEDS } from "./layout.js";
import { clock, day, moment, read } from "./moments.js";
import { Playing } from "./playing.js";
import { Symbols } from "./symbols.js";
import { Telling } from "./telling.js";
import { onTheme } from "./theme.js";
import { Timeline } from "./timeline.js";

const STYLES = ["/page/vendor/uPlot/uPlot.min.css", "/page/player.css"];
const FIRST_RANGE_MS = 86_400_000; // a longer recording is shown from so long before its end
const RANGE_MS_MIN = 1000;
const POINTS_MAX = 1600;
const ARTICLES_EVERY_MS = 250;
const TELL_EVERY_MS = 200;
const LIVE_LOAD_EVERY_MS = 15_000; // density and gaps of what is being recorded
let player = null;

export async function show(root, parameters) {
  if (player === null) {
    await Promise.all(STYLES.map(styled));
    root.innerHTML = LAYOUT;
    player = new Player(root);
  }
  await player.show(parameters ?? new URLSearchParams());
}

export function hide() {
  player?.hide();
}

function styled(href) {
  return new Promise((resolve) => {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = href;
    link.onload = link.onerror = resolve;
    document.head.append(link);
  });
}

class Player {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.recorded = null; // the answer of /page/range.json
    this.range = null; // {fromMs, toMs, open}: open goes on into the live recording
    this.symbol = null;
    this.density = null;
    this.prices = new Map(); // the last one heard, by symbol
    this.gaps = new Map(); // that the playhead is in, by feed and channel
    this.playing = new Playing((fresh) => this.heard(fresh));
    this.telling = new Telling(this.find);
    this.symbols = new Symbols(this.find(".chips"), this.find(".symbol"), (symbol) => this.choose(symbol));
    this.timeline = new Timeline(this.find(".timeline"), (ms) => this.seek(ms));
    this.chart = new Chart(this.find(".chart"), {
      seek: (ms) => this.seek(ms),
      zoom: (fromMs, toMs) => this.setRange({ fromMs, toMs, open: false }),
      pick: (article, words) => this.pointed(article, words),
    });
    this.articles = new Articles(this.find(".articles"), this.find(".no-articles"), (ms) => this.seek(ms));
    wire(this);
  }

  // --- shown and hidden ------------------------------------------------------------------------------------------

  async show(parameters) {
    if (this.shown) return;
    this.shown = true;
    this.stopListening = [listen(keys(this)), onTheme(() => this.redress())];
    try {
      this.recorded = await ask("/page/range.json");
    } catch (error) {
      this.problem(error.message);
      this.shown = false;
      this.stopListening.forEach((stop) => stop());
      return;
    }
    if (!this.shown) return;
    if (this.recorded.from_ms === null) {
      this.problem("Nothing is recorded yet. Come back when the recorder has received something.");
      return;
    }
    this.problem("");
    const { symbols } = this.recorded, before = this.symbol ?? parameters.get("symbol");
    this.symbols.show(symbols);
    if (!symbols.includes(before)) this.choose(symbols[0] ?? null);
    else if (this.symbol === null) this.choose(before);
    else this.symbols.mark(before);
    this.redress();
    if (this.range === null) {
      const speed = parameters.get("speed");
      if (SPEEDS.some(([value]) => value === speed)) this.find(".speed").value = speed;
      const toMs = instant(parameters.get("to")) ?? this.recorded.to_ms;
      const first = Math.max(this.recorded.from_ms, toMs - FIRST_RANGE_MS);
      this.setRange({ fromMs: instant(parameters.get("from")) ?? first, toMs, open: !parameters.has("to") });
    } else this.connect(this.now() ?? this.range.fromMs, true);
    this.frame();
  }

  hide() {
    if (!this.shown) return;
    this.shown = false;
    cancelAnimationFrame(this.framing);
    this.stopListening.forEach((stop) => stop());
    this.playing.close();
  }

  redress() {
    this.chart.build();
    this.timeline.draw();
    this.chart.playhead(this.now() ?? 0);
  }

  // --- what is shown ---------------------------------------------------------------------------------------------

  // Within what is recorded. `open`: on into what is being recorded, where it is.
  setRange({ fromMs, toMs, open }) {
    const { from_ms: first, to_ms: last, running: recording } = this.recorded;
    fromMs = Math.max(first, Math.min(fromMs, last - RANGE_MS_MIN));
    toMs = Math.max(Math.min(toMs, last), fromMs + RANGE_MS_MIN);
    const at = this.range === null ? null : this.now(), { running } = this.playing;
    this.place({ fromMs, toMs, open: open && recording });
    const within = at !== null && at >= fromMs && at < toMs;
    this.connect(within ? at : fromMs, !running);
    this.load();
  }

  place(range) {
    this.range = range;
    const live = this.find(".go-live");
    live.disabled = !this.recorded.running;
    live.title = this.recorded.running ? "What is being recorded now (L)" : "Nobody records here now";
    this.timeline.set(range);
    this.chart.set(range);
    this.find(".from").value = moment(range.fromMs);
    this.find(".to").value = moment(range.toMs);
    const said = new URLSearchParams({ from: new Date(range.fromMs).toISOString() });
    if (!range.open) said.set("to", new Date(range.toMs).toISOString());
    if (this.symbol) said.set("symbol", this.symbol);
    history.replaceState(null, "", `#player?${said}`);
  }

  // Density, prices and marks of the range, as it is now.
  async load() {
    this.loading?.abort();
    this.loadedAt = performance.now();
    const loading = this.loading = new AbortController(), { signal } = loading;
    const span = { from: Math.floor(this.range.fromMs), to: Math.ceil(this.range.toMs) };
    const wide = this.find(".strip").clientWidth || 600;
    const { symbol } = this, about = this.about();
    try {
      const [density, prices, marks] = await Promise.all([
        ask("/page/density.json", { ...span, buckets: Math.max(60, Math.min(600, Math.round(wide / 3))) }, { signal }),
        symbol === null ? null : ask("/page/prices.json", { ...span, symbol, points: Math.min(POINTS_MAX, Math.round(wide * 1.5)) }, { signal }),
        ask("/page/articles.json", { ...span, symbol: about, count: 500 }, { signal }),
      ]);
      if (this.loading !== loading) return;
      this.density = density;
      this.timeline.show(density);
      this.telling.legend(density);
      if (prices !== null) {
        this.playing.watch(symbol, prices.bucket_ms);
        this.chart.show(prices, density.gaps.filter((gap) => this.kind(gap.feed) === "finance_query.quotes"));
      }
      this.chart.showMarks(marks.articles);
      this.chart.addMarks(this.articles.all);
      const none = this.find(".no-prices");
      none.hidden = prices !== null && (prices.at_ms.length > 0 || this.range.open);
      none.textContent = symbol === null ? "No quotes are recorded here." : `No prices of ${symbol} in this range.`;
      this.chart.playhead(this.now() ?? this.range.fromMs);
    } catch (error) {
      if (error.name !== "AbortError") this.problem(error.message);
    }
  }

  kind(feed) {
    return this.recorded.feeds.find((each) => each.feed === feed)?.kind;
  }

  // The symbol that articles have to be about; undefined: any.
  about() {
    return this.symbol !== null && this.find(".only input").checked ? this.symbol : undefined;
  }

  // The articles up to a moment: after a seek, or when other ones are wanted.
  async loadArticles(ms) {
    const asked = this.asked = {};
    try {
      const to = Math.max(Math.ceil(ms), Math.ceil(this.recorded.from_ms) + 1);
      const { articles } = await ask("/page/articles.json", { from: Math.floor(this.recorded.from_ms), to, symbol: this.about(), count: 50 });
      if (this.asked !== asked) return;
      this.articles.replace(articles);
      this.chart.addMarks(articles);
      this.paintAll = true;
    } catch (error) {
      if (this.asked === asked) this.problem(error.message);
    }
  }

  // Where the playhead is shown. The server's goes on over silence; here nothing is behind the end.
  now() {
    const ms = this.playing.now();
    return ms === null || this.recorded.running && this.range.open ? ms : Math.min(ms, this.range.toMs);
  }

  // --- the replay ------------------------------------------------------------------------------------------------

  connect(at, paused) {
    const from = typeof at === "number" ? Math.min(Math.max(at, this.recorded.from_ms), this.recorded.to_ms - 1) : at;
    const speed = this.find(".speed").value;
    const feeds = this.recorded.feeds.map(({ feed, kind }) => [feed, kind]);
    const shown = feeds.filter(([, kind]) => kind === "finance_query.quotes" || kind.startsWith("finlight"));
    // Of the others nothing is shown here but their gaps, and /market alone is most of all bytes.
    this.playing.open({ from, toMs: this.range.open ? null : this.range.toMs, speed, paused, feeds: shown.length ? shown : feeds });
    this.loadArticles(typeof at === "number" ? at : this.recorded.to_ms);
    this.gaps.clear();
    this.paintAll = true;
  }

  toggle() {
    if (!this.playing.connected()) this.connect(this.playing.status === "ended" ? this.range.fromMs : this.now() ?? this.range.fromMs, false);
    else this.playing.ask({ op: this.playing.running ? "pause" : "resume" });
  }

  step() {
    if (this.playing.connected()) this.playing.ask({ op: "step" });
  }

  seek(ms) {
    const to = Math.round(Math.min(Math.max(ms, this.range.fromMs), this.range.open ? this.recorded.to_ms - 1 : this.range.toMs - 1));
    if (this.playing.connected()) {
      this.playing.ask({ op: "seek", to });
      this.gaps.clear();
      clearTimeout(this.seeking);
      this.seeking = setTimeout(() => this.loadArticles(to), 150);
    } else this.connect(to, true);
    this.paintAll = true;
  }

  by(share) {
    this.seek((this.now() ?? this.range.fromMs) + share * (this.range.toMs - this.range.fromMs));
  }

  async goLive() {
    this.recorded = await ask("/page/range.json").catch(() => this.recorded);
    if (!this.recorded.running) {
      this.seek(this.range.toMs);
      this.problem("Nobody records here now: this is the end.");
      return;
    }
    const toMs = this.recorded.to_ms, span = Math.min(this.range.toMs - this.range.fromMs, 600_000);
    this.place({ fromMs: Math.max(this.recorded.from_ms, toMs - span), toMs: toMs + span * 0.1, open: true });
    this.find(".speed").value = "1";
    this.connect("live", false);
    this.load();
  }

  setSpeed(value) {
    this.find(".speed").value = value;
    if (this.playing.connected()) this.playing.ask({ op: "speed", speed: value === "max" ? value : Number(value) });
  }

  faster(by) {
    const at = SPEEDS.findIndex(([value]) => value === this.find(".speed").value) + by;
    if (SPEEDS[at]) this.setSpeed(SPEEDS[at][0]);
  }

  heard(fresh) {
    if (!this.shown) return;
    for (const [symbol, price] of fresh.prices) this.prices.set(symbol, price);
    if (fresh.line.length) {
      this.chart.hear(fresh.line);
      this.paintAll = true;
    }
    const about = this.about();
    const articles = about ? fresh.articles.filter((each) => each.tickers.includes(about.toUpperCase())) : fresh.articles;
    if (articles.length) {
      this.articles.add(articles);
      this.chart.addMarks(articles);
    }
    for (const gap of fresh.gaps) {
      if (gap.until === null) this.gaps.set(`${gap.feed}/${gap.channel}`, gap);
      else this.gaps.delete(`${gap.feed}/${gap.channel}`);
    }
    const { ms } = this.playing.moment;
    if (this.range?.open && this.recorded.running && ms > this.range.toMs) this.slide(ms);
  }

  // The playhead runs out of the window: on with it, so that there is a fifth ahead.
  slide(ms) {
    const span = this.range.toMs - this.range.fromMs;
    this.recorded.to_ms = Math.max(this.recorded.to_ms, ms + 1);
    this.place({ fromMs: ms - 0.8 * span, toMs: ms + 0.2 * span, open: true });
    this.load();
  }

  // --- drawn, once a frame ---------------------------------------------------------------------------------------

  frame() {
    if (!this.shown) return;
    this.framing = requestAnimationFrame(() => this.frame());
    this.playing.take();
    const ms = this.now(), now = performance.now();
    if (ms !== null && this.range !== null && (ms !== this.painted || this.paintAll)) {
      this.painted = ms;
      this.paintAll = false;
      if (!this.timeline.held) this.timeline.playhead(ms);
      this.chart.playhead(ms);
      this.find(".now-day").textContent = day(ms);
      this.find(".now-clock").textContent = clock(ms);
      this.find(".now-fine").textContent = clock(ms, 1).slice(8);
    }
    if (now - (this.told ?? 0) > TELL_EVERY_MS) {
      this.told = now;
      this.tell();
    }
    if (now - (this.listed ?? 0) > ARTICLES_EVERY_MS) {
      this.listed = now;
      this.articles.show();
    }
  }

  tell() {
    const { playing } = this;
    this.telling.status(playing, this.gaps.values());
    this.telling.price(this.chart.ends());
    this.symbols.tell(this.prices);
    if (this.saidProblem !== playing.problem) this.problem(this.saidProblem = playing.problem);
    if (playing.status === "live" && performance.now() - this.loadedAt > LIVE_LOAD_EVERY_MS) this.load();
  }

  pointed(article, words) {
    this.telling.pointed(article === null ? words : `${clock(article.at_ms)}  ${String(article.title ?? article.link).slice(0, 140)}`);
    this.articles.mark(article?.position);
  }

  problem(words) {
    this.telling.problem(words);
  }

  // --- the reader ------------------------------------------------------------------------------------------------

  choose(symbol) {
    this.symbol = symbol;
    this.symbols.mark(symbol);
    this.find(".only").hidden = symbol === null;
    this.find(".only-symbol").textContent = this.find(".headline-symbol").textContent = symbol ?? "";
    if (this.range === null) return;
    this.place(this.range);
    this.load();
    if (this.about()) this.loadArticles(this.now() ?? this.range.fromMs);
  }

  other(step) {
    const symbol = this.symbols.beside(this.symbol, step);
    if (symbol !== undefined) this.choose(symbol);
  }

  async preset(last) {
    this.recorded = await ask("/page/range.json").catch(() => this.recorded);
    const { from_ms: fromMs, to_ms: toMs } = this.recorded;
    this.setRange({ fromMs: last === "all" ? fromMs : toMs - Number(last), toMs, open: true });
  }
}

// A moment in the page's address: epoch milliseconds, or as readers write it.
function instant(text) {
  return text === null ? null : /^\d{12,14}$/.test(text) ? Number(text) : read(text);
}
