// What the reader presses, writes and chooses, and what the player does then.

import { moment, read } from "./moments.js";

// What each key does, see keys.js and KEYS in layout.js.
export function keys(player) {
  const last = (does) => () => { if (player.range !== null) does(); };
  return {
    " ": last(() => player.toggle()),
    ".": last(() => player.step()),
    ArrowLeft: last(() => player.by(-0.01)),
    ArrowRight: last(() => player.by(0.01)),
    "Shift+ArrowLeft": last(() => player.by(-0.1)),
    "Shift+ArrowRight": last(() => player.by(0.1)),
    ArrowUp: last(() => player.other(-1)),
    ArrowDown: last(() => player.other(1)),
    Home: last(() => player.seek(player.range.fromMs)),
    End: last(() => (player.range.open ? player.goLive() : player.seek(player.range.toMs))),
    "+": last(() => player.faster(1)),
    "=": last(() => player.faster(1)),
    "-": last(() => player.faster(-1)),
    "[": last(() => player.setRange({ ...player.range, fromMs: player.now() })),
    "]": last(() => player.setRange({ ...player.range, toMs: player.now(), open: false })),
    0: last(() => player.preset("all")),
    l: last(() => player.goLive()),
    L: last(() => player.goLive()),
    "?": () => player.find(".keys").showModal(),
  };
}

export function wire(player) {
  const pressed = (selector, does) => player.find(selector).addEventListener("click", () => { if (player.range !== null) does(); });
  pressed(".play", () => player.toggle());
  pressed(".step", () => player.step());
  pressed(".to-start", () => player.seek(player.range.fromMs));
  pressed(".go-live", () => player.goLive());
  pressed(".faster", () => player.faster(1));
  pressed(".slower", () => player.faster(-1));
  player.find(".help").addEventListener("click", () => player.find(".keys").showModal());
  player.find(".speed").value = "1";
  player.find(".speed").addEventListener("change", (event) => player.setSpeed(event.target.value));
  player.find(".only input").addEventListener("change", () => {
    if (player.range === null) return;
    player.load();
    player.loadArticles(player.now() ?? player.range.fromMs);
  });
  player.find(".range").addEventListener("submit", (event) => {
    event.preventDefault();
    const fromMs = read(player.find(".from").value), toMs = read(player.find(".to").value);
    if (player.range === null) return;
    if (fromMs === null || toMs === null) player.problem("Write moments as 2026-01-31 14:30:00, in UTC.");
    else if (toMs <= fromMs) player.problem("The range has to end after it begins.");
    else if (fromMs >= player.recorded.to_ms || toMs <= player.recorded.from_ms) {
      player.problem(`Nothing is recorded then: there is ${moment(player.recorded.from_ms)} to ${moment(player.recorded.to_ms)} UTC.`);
    } else {
      player.problem("");
      player.setRange({ fromMs, toMs, open: false });
    }
  });
  for (const preset of player.root.querySelectorAll("[data-last]")) {
    preset.addEventListener("click", () => { if (player.range !== null) player.preset(preset.dataset.last); });
  }
  new ResizeObserver(() => {
    if (!player.shown) return;
    player.chart.resize();
    player.timeline.draw();
  }).observe(player.find(".chart"));
}
