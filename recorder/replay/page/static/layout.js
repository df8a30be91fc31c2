// What the player is made of. No text of a recording ever comes in here.

export const SPEEDS = [
  ["0.25", "0.25×"], ["1", "1×"], ["2", "2×"], ["5", "5×"], ["10", "10×"], ["60", "60× · minute/s"],
  ["300", "300×"], ["600", "600×"], ["3600", "3,600× · hour/s"], ["21600", "21,600×"],
  ["86400", "86,400× · day/s"], ["1000000", "1,000,000×"], ["max", "max"],
];

export const KEYS = [
  ["Space", "play, pause"],
  ["← →", "a hundredth of the range back, ahead; with Shift a tenth"],
  [".", "one message"],
  ["+ −", "faster, slower"],
  ["Home End", "to the beginning, to the end (or into the live recording)"],
  ["↑ ↓", "the symbol before, the next one"],
  ["[ ]", "the range begins, ends where the playhead is"],
  ["0", "the whole recording"],
  ["L", "live"],
  ["?", "these keys"],
];

const icon = (path) => `<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="${path}"/></svg>`;
const TO_START = icon("M3 3h2v10H3zM13 3v10L6 8z");
const PLAY = `${icon("M4 2.5v11L13 8z").replace("icon", "icon if-still")}${icon("M4 3h3v10H4zM9 3h3v10H9z").replace("icon", "icon if-running")}`;
const STEP = icon("M3 3h2v10H3zM7 3v10l7-5z");
const DOT = icon("M8 4a4 4 0 1 0 0 8 4 4 0 0 0 0-8z");
const options = SPEEDS.map(([value, words]) => `<option value="${value}">${words}</option>`).join("");
const keys = KEYS.map(([key, what]) => `<dt>${key.split(" ").map((one) => `<kbd>${one}</kbd>`).join(" ")}</dt><dd>${what}</dd>`).join("");

export const LAYOUT = `
<div class="player">
  <h1 class="out-of-sight">Player</h1>
  <div class="card transport">
    <div class="now">
      <div class="now-moment number" aria-label="Recorded moment, UTC"><span class="now-day"></span> <span class="now-clock">–</span><span class="now-fine"></span> <small>UTC</small></div>
      <div class="now-state"><span class="status" role="status">…</span><span class="in-gap" title="The playhead is in a gap: nothing was provably received"></span><span class="figures number soft"></span></div>
    </div>
    <div class="buttons">
      <button type="button" class="to-start" title="To the beginning (Home)" aria-label="To the beginning">${TO_START}</button>
      <button type="button" class="main play" title="Play, pause (Space)">${PLAY}<span class="play-word">Play</span></button>
      <button type="button" class="step" title="One message (.)" aria-label="Step one message">${STEP}</button>
      <button type="button" class="go-live" title="What is being recorded now (L)">${DOT}Live</button>
      <span class="speeds"><button type="button" class="slower" title="Slower (−)" aria-label="Slower">−</button><select class="speed" aria-label="Speed">${options}</select><button type="button" class="faster" title="Faster (+)" aria-label="Faster">+</button></span>
      <button type="button" class="quiet help" title="Keys (?)" aria-label="Keys">?</button>
    </div>
    <form class="range">
      <label>From <input class="from number" type="text" autocomplete="off" spellcheck="false" size="19" required></label>
      <label>to <input class="to number" type="text" autocomplete="off" spellcheck="false" size="19" required></label> <span>UTC</span>
      <button type="submit">Set</button>
      <span class="presets" role="group" aria-label="Range">
        <button type="button" class="quiet" data-last="600000">10 min</button><button type="button" class="quiet" data-last="3600000">1 h</button><button type="button" class="quiet" data-last="86400000">24 h</button><button type="button" class="quiet" data-last="604800000">7 d</button><button type="button" class="quiet" data-last="all">All</button>
      </span>
    </form>
    <p class="problem bad-text" role="alert" hidden></p>
  </div>
  <div class="watched">
    <div class="card prices">
      <div class="symbols"><div class="chips" role="group" aria-label="Symbol"></div><select class="symbol" aria-label="Symbol" hidden></select></div>
      <div class="headline"><span class="headline-symbol"></span> <span class="headline-price number"></span> <span class="headline-move number"></span><span class="pointed number soft"></span></div>
      <div class="chart" role="img" aria-label="Prices of the symbol over the range, articles as marks"></div>
      <p class="no-prices soft" hidden></p>
      <div class="timeline">
        <div class="strip" role="slider" tabindex="0" aria-label="Timeline: where the replay is"><canvas></canvas><div class="ahead"></div><div class="playhead"></div></div>
        <div class="lanes" role="group" aria-label="Gaps"></div>
        <div class="gap-tip" role="tooltip" hidden></div>
      </div>
      <div class="shown-kinds soft"></div>
    </div>
    <div class="card news">
      <div class="news-head"><h2>Articles</h2><label class="only"><input type="checkbox" checked> <span>only about <b class="only-symbol"></b></span></label></div>
      <ol class="articles" aria-label="Articles up to the playhead, newest first" tabindex="0"></ol>
      <p class="no-articles soft" hidden>None up to here.</p>
    </div>
  </div>
  <dialog class="keys" aria-labelledby="keys-title"><form method="dialog"><h2 id="keys-title">Keys</h2><dl>${keys}</dl>
    <p class="soft">Press or drag on the timeline to go there, draw over the chart to see that part larger. Diamonds are articles, red bars are gaps.</p>
    <div class="row end"><button type="submit" class="main">Close</button></div></form></dialog>
</div>`;
