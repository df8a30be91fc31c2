// Listens to a replay in a worker, so that the page stays responsive at any speed.
//
// In: from the page where to connect, operations, and once a frame `{take: true}`. Out: to each `take` what has come
// since the last one, no more than fits a picture: of prices the last in each bucket, of articles the newest, counts.
// So whatever the speed, what waits here is bounded; the server waits for whoever reads slowly.

import { parsed } from "./moments.js";

const ARTICLES_MAX = 60;
const GAPS_MAX = 100;
const PRICES_MAX = 5000; // points of the line between two pictures
const SYMBOLS_MAX = 2000;

let socket = null;
let kinds = new Map(); // of the feeds, by name
let symbol = null;
let bucketMs = 1000;
let deafUntil = null; // the request_id of a seek: what comes before its answer is of before it
let fresh = nothing();

function nothing() {
  return {
    messages: 0, characters: 0, momentMs: null, state: null, error: null, end: null, closed: false,
    prices: new Map(), line: new Map(), articles: [], gaps: [],
  };
}

onmessage = ({ data: told }) => {
  if (told.take) take();
  if (told.watch) ({ symbol, bucketMs } = told.watch);
  if (told.open) open(told.open);
  if (told.ask && socket?.readyState === WebSocket.OPEN) {
    if (told.ask.op === "seek") {
      deafUntil = told.ask.request_id;
      fresh = { ...nothing(), state: fresh.state };
    }
    socket.send(JSON.stringify(told.ask));
  }
  if (told.close) leave();
};

function take() {
  postMessage({
    ...fresh,
    prices: [...fresh.prices],
    line: [...fresh.line.values()].flat(),
  });
  fresh = nothing();
}

function leave() {
  if (socket === null) return;
  socket.onmessage = socket.onclose = null;
  socket.close();
  socket = null;
}

function open({ url, feeds }) {
  leave();
  kinds = new Map(feeds);
  deafUntil = null;
  fresh = nothing();
  socket = new WebSocket(url);
  socket.onmessage = ({ data }) => heard(data);
  socket.onclose = () => { fresh.closed = true; socket = null; };
}

function heard(text) {
  if (text.startsWith('{"position"')) {
    if (deafUntil === null) message(text);
    return;
  }
  const told = JSON.parse(text);
  if (told.state) {
    if (told.state.request_id === deafUntil) deafUntil = null;
    if (deafUntil === null) {
      fresh.state = told.state;
      if (told.state.moment) fresh.momentMs = parsed(told.state.moment);
    }
  } else if (told.error) {
    if (told.error.request_id === deafUntil) deafUntil = null;
    fresh.error = told.error.message;
  } else if (told.gap) {
    if (deafUntil === null && fresh.gaps.length < GAPS_MAX) fresh.gaps.push(told.gap);
  } else if (told.end) fresh.end = told.end;
}

function message(text) {
  fresh.messages += 1;
  fresh.characters += text.length;
  const at = text.indexOf('"received_at":"') + 15;
  fresh.momentMs = parsed(text.slice(at, at + 30));
  const from = text.indexOf('"feed":"', at) + 8;
  const kind = kinds.get(text.slice(from, text.indexOf('"', from)));
  if (kind === "finance_query.quotes") quotes(JSON.parse(text));
  else if (kind?.startsWith("finlight")) article(JSON.parse(text));
}

function quotes({ data, mark }) {
  if (!Array.isArray(data) || mark?.includes("double")) return;
  for (const row of data) {
    const price = number(row?.price);
    if (price === null || typeof row.symbol !== "string") continue;
    if (fresh.prices.size < SYMBOLS_MAX || fresh.prices.has(row.symbol)) fresh.prices.set(row.symbol, price);
    if (row.symbol === symbol) {
      const bucket = Math.floor(fresh.momentMs / bucketMs);
      if (fresh.line.size >= PRICES_MAX) fresh.line.delete(fresh.line.keys().next().value);
      fresh.line.set(bucket, [fresh.momentMs, price]);
    }
  }
}

// `227.52` and `59,208.36`, or a JSON number
function number(value) {
  const read = typeof value === "string" && value !== "" ? Number(value.replaceAll(",", "")) : value;
  return Number.isFinite(read) ? read : null;
}

function article({ position, feed, mark, data }) {
  const told = data?.action === "sendArticle" ? data.data : data?.action === undefined ? data : null;
  if (typeof told?.link !== "string") return;
  const companies = Array.isArray(told.companies) ? told.companies : [];
  fresh.articles.push({
    position, feed, mark, at_ms: fresh.momentMs,
    title: told.title, source: told.source, link: told.link, sentiment: told.sentiment, is_update: told.isUpdate,
    tickers: [...new Set(companies.map((company) => company?.ticker).filter((ticker) => typeof ticker === "string"))],
  });
  if (fresh.articles.length > ARTICLES_MAX) fresh.articles.shift();
}
