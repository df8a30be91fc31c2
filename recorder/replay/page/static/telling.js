// What the player says in words: status and figures, prices, what the colours of the timeline mean.

import { GROUPS, described } from "./timeline.js";

const GAPS_TOLD_MAX = 3;
const WORDS = {
  playing: "Playing", paused: "Paused", buffering: "Buffering", live: "Live", ended: "Ended",
  connecting: "Connecting…", closed: "Not connected",
};

export class Telling {
  // `find(selector)`: an element of the player
  constructor(find) {
    this.find = find;
  }

  // `gaps`: those that the playhead is in
  status({ status, state, running }, gaps) {
    const { find } = this, chip = find(".status"), play = find(".play");
    say(chip, WORDS[status] ?? status);
    chip.dataset.status = status;
    say(play.lastElementChild, running ? "Pause" : status === "ended" ? "Again" : "Play");
    play.dataset.running = running;
    find(".go-live").classList.toggle("lit", status === "live");
    say(find(".figures"), state ? figures(state, running && status !== "live") : "");
    say(find(".in-gap"), [...gaps].slice(0, GAPS_TOLD_MAX).map(named).join(", "));
  }

  // `ends`: the first and the last price that were played in the range, or null
  price(ends) {
    say(this.find(".headline-price"), ends ? amount(ends.last) : "");
    const move = ends?.first ? (ends.last / ends.first - 1) * 100 : null;
    const told = this.find(".headline-move");
    say(told, move === null ? "" : `${move < 0 ? "−" : "+"}${Math.abs(move).toFixed(2)} % in the range`);
    told.dataset.way = move === null || Math.abs(move) < 0.005 ? "" : move > 0 ? "up" : "down";
  }

  pointed(words) {
    say(this.find(".pointed"), words);
  }

  problem(words) {
    const told = this.find(".problem");
    told.textContent = words;
    told.hidden = words === "";
  }

  // Of an answer of /page/density.json.
  legend({ kinds, gaps, gaps_total: total }) {
    const groups = new Set(Object.keys(kinds).map((kind) => GROUPS.find((group) => group.has(kind))));
    const entries = GROUPS.filter((group) => groups.has(group)).map(({ name, colour }) => [name, colour.replace("--player-", "kind-")]);
    entries.push([total === 0 ? "no gaps" : total === 1 ? described(gaps[0]) : `${total.toLocaleString("en")} gaps`, "kind-gap"]);
    this.find(".shown-kinds").replaceChildren(...entries.map(([words, className]) => {
      const entry = document.createElement("span");
      entry.className = `kind ${className}`;
      entry.textContent = words;
      return entry;
    }));
  }
}

// Text is set only where it changes: what stands still is not laid out again.
export function say(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

function named({ feed, channel, cause }) {
  return `${channel ? `${feed}/${channel}` : feed}: ${cause}`;
}

function figures({ speed, speed_reached: reached, lateness_ms: late, sent }, moves) {
  const asked = speed === "max" ? "max asked" : `${speed.toLocaleString("en")}× asked`;
  const words = [moves ? `${asked}, ${reached >= 100 ? Math.round(reached).toLocaleString("en") : Math.round(reached * 10) / 10}× reached` : asked];
  if (late) words.push(`late ${fine(late.p50)} ms (p99 ${fine(late.p99)})`);
  words.push(`${sent.messages.toLocaleString("en")} messages`);
  return words.join(" · ");
}

function fine(ms) {
  return ms >= 10 ? Math.round(ms) : Math.round(ms * 100) / 100;
}

function amount(price) {
  return price.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 6 });
}
