// One symbol's prices: what was played as a line, what is ahead of the playhead faint, the news as marks on it.

import { clock, moment, tick } from "./moments.js";
import { colour } from "./theme.js";
import uPlot from "./vendor/uPlot/uPlot.esm.js";

export const AXIS_PX = 58; // of the prices, at the right; the timeline below leaves as much
const TAIL_MAX = 5000; // points that have come since the prices were asked for
const MARKS_MAX = 1000;
const GAP_SHARE_MIN = 1 / 250; // of the range: what is narrower is told by the timeline alone
const MARKS_APART_PX = 7;
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const APART_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, ...SECONDS.map((s) => s * 1000), ...[1, 2, 4, 7, 14, 28, 91, 182, 364].map((d) => d * 86_400_000)];
const MARK_NEAR_PX = 9;

export class Chart {
  // `seek(ms)`: pressed there. `zoom(fromMs, toMs)`: drawn over. `pick(article)`: the mark under the pointer, or null
  constructor(root, { seek, zoom, pick }) {
    this.root = root;
    this.pick = pick;
    this.seek = seek;
    this.zoom = zoom;
    this.range = { fromMs: 0, toMs: 1 };
    this.base = { at: [], low: [], high: [], last: [] }; // of prices.json
    this.heard = []; // of points of the base that were played: the price
    this.tail = []; // [ms, price] behind the base
    this.gaps = []; // in which no prices were provably received, by their beginning: there the line is broken
    this.marks = [];
    this.headMs = 0;
    this.plot = null;
  }

  // Made anew when colours change: uPlot keeps them.
  build() {
    this.plot?.destroy();
    const soft = colour("--ink-soft"), grid = colour("--line"), accent = colour("--player-quotes");
    const band = colour("--player-band");
    const axis = { stroke: soft, font: "12px system-ui, sans-serif", grid: { stroke: grid, width: 1 }, ticks: { show: false } };
    this.colours = {
      good: colour("--good"), bad: colour("--bad"), neutral: colour("--ink-faint"),
      card: colour("--card"), head: colour("--ink"), gap: colour("--player-gap"),
    };
    this.plot = new uPlot({
      ...this.size(),
      padding: [10, 0, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        bind: { dblclick: () => () => null },
      },
      scales: { x: { time: false, range: () => [this.range.fromMs, this.range.toMs] }, y: { range: roomy } },
      axes: [
        { ...axis, size: 28, space: 64, incrs: APART_MS, values: (plot, ticks, _, __, apart) => ticks.map((at) => within(plot, at) ? tick(at, apart) : null) },
        { ...axis, side: 1, size: AXIS_PX, space: 36, values: (_, ticks, __, ___, apart) => ticks.map((y) => y.toFixed(digits(apart))) },
      ],
      series: [
        {},
        { points: { show: false }, width: 0 },
        { points: { show: false }, width: 0 },
        { stroke: colour("--player-ahead"), width: 1.5, points: { show: false } },
        { stroke: accent, width: 2, points: { show: false } },
      ],
      bands: [{ series: [2, 1], fill: band }],
      hooks: {
        draw: [() => this.drawMarks()],
        setSelect: [(plot) => this.selected(plot)],
        setCursor: [(plot) => this.pointed(plot)],
      },
    }, this.data(), this.root);
    this.plot.over.addEventListener("click", (event) => {
      if (this.dragged) this.dragged = false;
      else this.seek(this.plot.posToVal(event.offsetX, "x"));
    });
  }

  size() {
    return { width: Math.max(200, this.root.clientWidth), height: this.root.clientHeight || 260 };
  }

  resize() {
    this.plot?.setSize(this.size());
  }

  set(range) {
    this.range = range;
  }

  // The answer of /page/prices.json, and the gaps in which nothing was provably received.
  show(prices, gaps) {
    this.base = { at: prices.at_ms, low: prices.low, high: prices.high, last: prices.last };
    this.heard = new Array(prices.at_ms.length).fill(null);
    const end = this.base.at.at(-1) ?? -Infinity;
    this.tail = this.symbol === prices.symbol ? this.tail.filter(([ms]) => ms > end) : [];
    this.symbol = prices.symbol;
    const shown = (this.range.toMs - this.range.fromMs) * GAP_SHARE_MIN;
    this.gaps = gaps.filter((gap) => (gap.until_ms ?? this.range.toMs) - gap.since_ms >= shown);
    this.gaps.sort((one, other) => one.since_ms - other.since_ms);
    this.redraw();
  }

  // Points [ms, price, ms, price, …] as they were played, in the order of a playhead.
  hear(points) {
    const { at: known } = this.base;
    for (let at = 0; at < points.length; at += 2) {
      const ms = points[at], price = points[at + 1], index = behind(known, ms, false);
      if (index < known.length) this.heard[index] = price; // the point stands for all since the one before it
      else if (!this.tail.length || ms > this.tail.at(-1)[0]) this.tail.push([ms, price]);
    }
    if (this.tail.length > TAIL_MAX) this.tail.splice(0, this.tail.length - TAIL_MAX);
  }

  showMarks(articles) {
    this.marks = articles.slice(0, MARKS_MAX).sort((one, other) => one.at_ms - other.at_ms);
  }

  addMarks(articles) {
    const known = new Set(this.marks.map((article) => article.link));
    const added = articles.filter((article) => !known.has(article.link));
    if (added.length) this.showMarks([...added, ...this.marks.toReversed()]);
  }

  playhead(ms) {
    this.headMs = ms;
    this.redraw();
  }

  redraw() {
    this.plot?.setData(this.data());
  }

  // The last price up to the playhead, the first of the range.
  ends() {
    const { solid } = this;
    return solid?.length ? { first: solid[0], last: solid.at(-1) } : null;
  }

  // uPlot's columns: x, lowest, highest, ahead, played.
  data() {
    const columns = [[], [], [], [], []], { base, headMs } = this;
    let before = -Infinity, broken = 0, last = null;
    this.solid = [];
    const point = (ms, low, high, price) => {
      while (broken < this.gaps.length && this.gaps[broken].since_ms <= before) broken += 1;
      if (broken < this.gaps.length && this.gaps[broken].since_ms < ms) push(columns, (before + ms) / 2, null, null, null, null);
      const played = ms <= headMs;
      // The first one ahead is joined to the last one played.
      if (!played && last !== null && columns[0].at(-1) === last) columns[3][columns[0].length - 1] = columns[4].at(-1);
      push(columns, ms, low, high, played ? null : price, played ? price : null);
      if (played) {
        last = ms;
        this.solid.push(price);
      }
      before = ms;
    };
    for (let at = 0; at < base.at.length; at += 1) {
      const ms = base.at[at];
      point(ms, base.low[at], base.high[at], ms <= headMs ? this.heard[at] ?? base.last[at] : base.last[at]);
    }
    for (const [ms, price] of this.tail) point(ms, price, price, price);
    return columns;
  }

  // The price that is drawn there; null: none nearby.
  priceAt(ms) {
    const [x, , , ahead, played] = this.plot.data;
    const low = behind(x, ms, true);
    for (let at = low - 1; at >= 0 && at > low - 4; at -= 1) if ((played[at] ?? ahead[at]) != null) return played[at] ?? ahead[at];
    return null;
  }

  drawMarks() {
    const { plot, colours } = this, pen = plot.ctx, { left, top, width, height } = plot.bbox, fine = devicePixelRatio || 1;
    pen.save();
    pen.beginPath();
    pen.rect(left, top, width, height);
    pen.clip();
    pen.fillStyle = colours.gap;
    for (const gap of this.gaps) {
      const from = plot.valToPos(gap.since_ms, "x", true), to = plot.valToPos(gap.until_ms ?? this.range.toMs, "x", true);
      pen.fillRect(from, top, Math.max(to - from, fine), height);
    }
    this.drawn = [];
    let before = -Infinity;
    for (const article of this.marks) {
      const x = plot.valToPos(article.at_ms, "x", true);
      if (x < left || x > left + width || x - before < MARKS_APART_PX * fine) continue;
      before = x;
      const price = this.priceAt(article.at_ms);
      const y = price === null ? top + height - 8 * fine : plot.valToPos(price, "y", true);
      pen.globalAlpha = article.at_ms <= this.headMs ? 1 : 0.35;
      pen.fillStyle = pen.strokeStyle = { positive: colours.good, negative: colours.bad }[article.sentiment] ?? colours.neutral;
      const large = article === this.picked ? 6.5 : 4;
      if (article === this.picked) {
        pen.lineWidth = fine;
        pen.beginPath();
        pen.moveTo(x, top);
        pen.lineTo(x, top + height);
        pen.stroke();
      }
      pen.beginPath();
      pen.moveTo(x, y - large * fine);
      pen.lineTo(x + large * fine, y);
      pen.lineTo(x, y + large * fine);
      pen.lineTo(x - large * fine, y);
      pen.closePath();
      pen.fill();
      pen.strokeStyle = colours.card;
      pen.lineWidth = fine;
      pen.stroke();
      this.drawn.push([x / fine, article]);
    }
    pen.globalAlpha = 1;
    const head = plot.valToPos(this.headMs, "x", true);
    pen.strokeStyle = colours.head;
    pen.lineWidth = fine;
    pen.beginPath();
    pen.moveTo(head, top);
    pen.lineTo(head, top + height);
    pen.stroke();
    pen.restore();
  }

  selected(plot) {
    const { left, width } = plot.select;
    if (width < 8) return;
    this.dragged = true;
    this.zoom(plot.posToVal(left, "x"), plot.posToVal(left + width, "x"));
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
  }

  // The mark under the pointer, and in words where the pointer is.
  pointed(plot) {
    const { left, idx } = plot.cursor;
    if (left === undefined || left < 0) return this.point(null, "");
    const shift = plot.bbox.left / (devicePixelRatio || 1);
    let near = null, distance = MARK_NEAR_PX;
    for (const [x, article] of this.drawn ?? []) {
      const apart = Math.abs(x - shift - left);
      if (apart < distance) [near, distance] = [article, apart];
    }
    const price = idx == null ? null : plot.data[4][idx] ?? plot.data[3][idx];
    const low = plot.data[1][idx], high = plot.data[2][idx];
    const range = price != null && low != null && low !== high ? ` (${low} to ${high})` : "";
    this.point(near, price == null ? this.said(plot.posToVal(left, "x")) : `${this.said(plot.data[0][idx])}  ${price}${range}`);
    return undefined;
  }

  said(ms) {
    return this.range.toMs - this.range.fromMs > 86_400_000 ? moment(ms) : clock(ms);
  }

  point(article, words) {
    if (article !== this.picked) {
      this.picked = article;
      this.plot.redraw(false);
    }
    this.pick(article, words);
  }
}

function push(columns, ...values) {
  values.forEach((value, at) => columns[at].push(value));
}

// Where the first of these numbers is that is not below the value, or that is `above` it.
function behind(numbers, value, above) {
  let low = 0, high = numbers.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers[middle] < value || (above && numbers[middle] === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Whether a tick's label has room before the edges.
function within(plot, at) {
  const { min, max } = plot.scales.x, room = (max - min) * (22 / Math.max(60, plot.width - AXIS_PX));
  return at >= min + room && at <= max - room;
}

// A tenth above and below; a flat line in the middle.
function roomy(_, low, high) {
  if (low == null) return [0, 1];
  const room = high > low ? (high - low) * 0.1 : Math.abs(high) * 0.001 || 1;
  return [low - room, high + room];
}

// So many digits behind the point as ticks that far apart need.
function digits(apart) {
  return apart >= 1 ? (Number.isInteger(apart) ? 0 : 1) : Math.min(6, Math.ceil(-Math.log10(apart)));
}
