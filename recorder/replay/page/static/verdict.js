// The first thing to read: whether all is well, in words, and why not.

import { count } from "./amounts.js";
import { element, prose, say } from "./element.js";
import { lengthOf, moment } from "./moments.js";

const WORDS = {
  ok: ["All is well", "good"],
  degraded: ["Somebody should look", "warn"],
  failed: ["Messages are being lost", "bad"],
};

export class Verdict {
  #title = element("h1", { role: "status" }, "Looking…"); // read aloud when it changes; what is below changes each second
  #reasons = element("ul", { class: "reasons" });
  #notes = element("p", { class: "soft" });
  #last = null; // when the server last answered, ms

  constructor() {
    const words = element("div", {}, this.#title, this.#reasons, this.#notes);
    this.root = element("section", { class: "card verdict", "aria-label": "Verdict" });
    this.root.append(element("span", { class: "lamp", "aria-hidden": "true" }), words);
  }

  show(facts) {
    this.#last = Date.now();
    if (!facts.running) return this.#idle(facts);
    const told = facts.recorder;
    const [title, tone] = WORDS[facts.health.state];
    const notes = told && [
      `recording for ${lengthOf((facts.written_ns - told.started_ns) / 1e6)}`,
      `everything up to position ${count(told.durable_position)} is durable`,
      `version ${told.version}`,
    ];
    this.#say(tone, title, facts.health.reasons, notes ? notes.join(" · ") : "");
  }

  #idle(facts) {
    if (facts.recorded === null) {
      const how = "Name your feeds in config.toml and start `recorder run`; they appear here with their first message.";
      return this.#say("idle", "Nothing is recorded here yet", [], how);
    }
    const ago = lengthOf((facts.written_ns - facts.recorded.last_received_ns) / 1e6);
    const reasons = [`The last message came ${ago} ago, ${moment(facts.recorded.last_received_ns / 1e6)} UTC`];
    const note = "What was recorded can be looked at and played all the same. `recorder run` goes on recording.";
    return this.#say("idle", "Nobody records here", reasons, note);
  }

  // Only the age of what is shown goes on.
  gone(error) {
    const reasons = error === null || error.status === 0 ? [] : [error.message];
    const since = this.#last === null ? "" : `What you see is ${lengthOf(Date.now() - this.#last)} old. `;
    const note = `${since}The recorder does not depend on this page's server: \`recorder status\` asks it directly. Trying again…`;
    this.#say("gone", "The server does not answer", reasons, note);
  }

  #say(tone, title, reasons, notes) {
    this.root.dataset.tone = tone;
    document.body.classList.toggle("stale", tone === "gone");
    say(this.#title, title);
    if (reasons.join("\n") !== [...this.#reasons.children].map((line) => line.textContent).join("\n")) {
      this.#reasons.replaceChildren(...reasons.map((reason) => element("li", {}, reason)));
    }
    if (notes.replaceAll("`", "") !== this.#notes.textContent) this.#notes.replaceChildren(...prose(notes));
  }
}
