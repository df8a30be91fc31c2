// How it is doing now, and what of the last weeks is covered. `/status` is asked every second while the view is seen.

import { AskError, ask } from "./ask.js";
import { Calendar } from "./calendar.js";
import { Cards } from "./cards.js";
import { Feeds } from "./feeds.js";
import { Verdict } from "./verdict.js";

const STATUS_MS = 1_000;
const COVERAGE_MS = 60_000;
const FIRST_COVERAGE_MS = 5_000; // as long as there is none: somebody is waiting for the first message
const SIZES_MS = 5_000;
const PATIENCE_MS = 8_000; // of one look at /status: then the server is as good as gone

let view = null;

class Overview {
  #timers = new Map();
  #ending = null;

  constructor(root) {
    this.verdict = new Verdict();
    this.feeds = new Feeds();
    this.calendar = new Calendar((weeks) => this.#coverage(weeks));
    this.cards = new Cards();
    root.replaceChildren(this.verdict.root, this.feeds.root, this.calendar.root, this.cards.root);
    document.addEventListener("visibilitychange", () => (document.hidden ? this.pause() : this.#ending ?? this.start()));
  }

  async start() {
    if (this.#ending !== null) return;
    const during = new AbortController();
    this.#ending = during;
    this.#every(() => STATUS_MS, () => this.#status());
    const coverageMs = () => (this.calendar.isEmpty ? FIRST_COVERAGE_MS : COVERAGE_MS);
    await this.#every(coverageMs, () => this.#coverage(this.calendar.weeks));
    if (this.#ending !== during) return; // what is below the calendar does not hold it up
    this.#every(() => SIZES_MS, async () => this.cards.showSizes(await this.#ask("/page/recording.json")));
    this.#every(() => COVERAGE_MS, async () => this.cards.showLateness(await this.#ask("/page/lateness.json")));
  }

  pause() {
    this.#ending?.abort();
    this.#ending = null;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
  }

  // Again so long after it was done, not so long after it began: a slow server is not asked the more often.
  async #every(ms, look) {
    const during = this.#ending;
    try {
      await look();
    } catch (error) {
      if (!(error instanceof AskError) && error.name !== "AbortError") throw error;
    } finally {
      if (this.#ending === during) this.#timers.set(look, setTimeout(() => this.#every(ms, look), ms()));
    }
  }

  #ask(path, parameters, signal = this.#ending.signal) {
    return ask(path, parameters, { signal });
  }

  async #status() {
    const during = this.#ending;
    try {
      const facts = await this.#ask("/status", {}, AbortSignal.any([during.signal, AbortSignal.timeout(PATIENCE_MS)]));
      this.verdict.show(facts);
      this.feeds.show(facts);
      this.calendar.live(facts);
      this.cards.show(facts);
    } catch (error) {
      if (!during.signal.aborted) this.verdict.gone(error instanceof AskError ? error : null);
      throw error;
    }
  }

  async #coverage(weeks) {
    try {
      this.calendar.show(await this.#ask("/page/coverage.json", { weeks }));
    } catch (error) {
      if (error instanceof AskError) this.calendar.failed(error.message);
      throw error;
    }
  }
}

export function show(root) {
  view ??= new Overview(root);
  view.start();
}

export function hide() {
  view?.pause();
}
