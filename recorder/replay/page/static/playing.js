// The replay the player listens to: one connection at a time, steered, and where it is at every instant between two
// states. What comes is fetched from the worker, once a frame at most.

import { socketUrl } from "./ask.js";

const AGAIN_MS = [500, 1000, 2000, 5000]; // waits before dialling again
const AHEAD_MS_MAX = 1500; // of real time without news the playhead goes on: states come once a second
const SMOOTH_SPEED_MAX = 100; // above it something comes at nearly every frame

export class Playing {
  // `heard(fresh)`: something came, see listener.js
  constructor(heard) {
    this.worker = new Worker(new URL("./listener.js", import.meta.url), { type: "module" });
    this.worker.onmessage = ({ data }) => this.took(data);
    this.heard = heard;
    this.state = null;
    this.end = null; // said by the server, before it closed
    this.status = "closed"; // or connecting, and what the server says: playing, paused, buffering, live, ended
    this.problem = "";
    this.wanted = null;
    this.failures = 0;
    this.requests = 0;
    this.awaited = false;
    this.moment = { ms: null, at: 0 };
  }

  // `from`: milliseconds or "live"; `toMs` null: on into the live recording; `feeds`: [name, kind] of those to hear.
  open({ from, toMs, speed, paused, feeds }) {
    clearTimeout(this.timer);
    this.wanted = { from, toMs, speed, paused, feeds };
    this.state = this.end = null;
    this.status = "connecting";
    this.moment = { ms: typeof from === "number" ? from : null, at: performance.now() };
    this.worker.postMessage({ open: { url: socketUrl("/replay", this.query()), feeds } });
  }

  query() {
    const { from, toMs, speed, paused, feeds } = this.wanted;
    const names = feeds.map(([name]) => name).join(",");
    return {
      from: typeof from === "number" ? Math.floor(from) : from,
      to: toMs === null ? undefined : Math.ceil(toMs),
      speed, paused, feeds: names || undefined,
    };
  }

  close() {
    clearTimeout(this.timer);
    this.wanted = null;
    this.status = "closed";
    this.worker.postMessage({ close: true });
  }

  watch(symbol, bucketMs) {
    this.worker.postMessage({ watch: { symbol, bucketMs } });
  }

  get running() {
    return ["playing", "buffering", "live"].includes(this.status);
  }

  connected() {
    return this.wanted !== null && !["ended", "closed"].includes(this.status);
  }

  ask(operation) {
    this.requests += 1;
    this.worker.postMessage({ ask: { ...operation, request_id: this.requests } });
    if (operation.op === "speed") this.wanted.speed = operation.speed;
    if (operation.op === "pause") this.wanted.paused = true;
    if (operation.op === "resume") this.wanted.paused = false;
    if (operation.op === "seek" && typeof operation.to === "number") this.moment = { ms: operation.to, at: performance.now() };
  }

  // Once a frame.
  take() {
    if (this.awaited) return;
    this.awaited = true;
    this.worker.postMessage({ take: true });
  }

  took(fresh) {
    this.awaited = false;
    if (fresh.state) {
      this.state = fresh.state;
      this.status = fresh.state.status;
      this.failures = 0;
      this.problem = "";
    }
    if (fresh.momentMs !== null) this.moment = { ms: fresh.momentMs, at: performance.now() };
    if (fresh.error) this.problem = fresh.error;
    if (fresh.end) {
      this.end = fresh.end;
      this.status = "ended";
      this.problem = fresh.end.cause === "all was played" ? "" : fresh.end.cause;
    }
    if (fresh.closed && this.wanted !== null && (this.end === null || this.end.cause === "the server stops")) this.lost();
    this.heard(fresh);
  }

  // Dials again, where it was.
  lost() {
    const refused = this.state === null, { wanted } = this;
    if (typeof this.moment.ms === "number" && wanted.from !== "live") wanted.from = this.moment.ms;
    const again = AGAIN_MS[Math.min(this.failures, AGAIN_MS.length - 1)];
    this.failures += 1;
    this.status = "connecting";
    this.problem = "The server does not answer. Trying again.";
    if (refused) this.why();
    this.timer = setTimeout(() => { if (this.wanted === wanted) this.open(wanted); }, again);
  }

  // Why a handshake was refused, only plain HTTP can say.
  async why() {
    try {
      const answer = await fetch(socketUrl("/replay", this.query()).replace(/^ws/, "http"), { cache: "no-store" });
      const body = await answer.text();
      if (answer.status !== 426 && this.status === "connecting") this.problem = refusal(body);
    } catch {
      // It is not there: said already.
    }
  }

  // The recorded moment at this instant; null until it is known.
  now() {
    const { ms, at } = this.moment, speed = this.state?.speed;
    if (ms === null || this.status !== "playing" || !(speed <= SMOOTH_SPEED_MAX)) return ms;
    return ms + Math.min(performance.now() - at, AHEAD_MS_MAX) * speed;
  }
}

function refusal(body) {
  try {
    return JSON.parse(body).error.message;
  } catch {
    return body.slice(0, 200).trim();
  }
}
