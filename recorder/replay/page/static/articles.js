// The articles up to the playhead, newest first. They are strangers' text: nothing of them is ever read as HTML.

import { clock, day, moment } from "./moments.js";

const SHOWN_MAX = 60;
const SENTIMENTS = { positive: "▲ positive", negative: "▼ negative", neutral: "● neutral" };

export class Articles {
  // `seek(ms)`: the reader wants to see what went on around an article
  constructor(list, empty, seek) {
    this.list = list;
    this.empty = empty;
    this.seek = seek;
    this.all = []; // newest first
    this.nodes = new Map(); // by position
    this.changed = false;
  }

  replace(articles) {
    this.all = [];
    this.add(articles);
    this.changed = true;
  }

  // In any order; the same one again, also from another feed, is passed over.
  add(articles) {
    const known = new Set(this.all.map(identity));
    for (const article of articles) {
      if (known.has(identity(article))) continue;
      known.add(identity(article));
      this.all.push(article);
      this.changed = true;
    }
    this.all.sort((one, other) => other.at_ms - one.at_ms || other.position - one.position);
    this.all.length = Math.min(this.all.length, SHOWN_MAX);
  }

  show() {
    if (!this.changed) return;
    this.changed = false;
    const wanted = new Set(this.all.map((article) => article.position));
    for (const [position, node] of this.nodes) {
      if (wanted.has(position)) continue;
      node.remove();
      this.nodes.delete(position);
    }
    let before = this.list.firstElementChild;
    for (const article of this.all) {
      let node = this.nodes.get(article.position);
      if (node === undefined) {
        node = this.made(article);
        this.nodes.set(article.position, node);
      }
      if (node === before) before = node.nextElementSibling;
      else this.list.insertBefore(node, before);
    }
    this.empty.hidden = this.all.length > 0;
  }

  mark(position) {
    for (const [each, node] of this.nodes) node.classList.toggle("marked", each === position);
    this.nodes.get(position)?.scrollIntoView({ block: "nearest" });
  }

  made(article) {
    const item = document.createElement("li");
    item.className = "article";
    const head = element("div", "article-head");
    const time = element("button", "quiet number", clock(article.at_ms));
    time.type = "button";
    time.title = `Go to ${moment(article.at_ms)} UTC, when it was received`;
    time.addEventListener("click", () => this.seek(article.at_ms));
    head.append(time, element("span", "soft", text(article.source, 60)));
    if (Object.hasOwn(SENTIMENTS, article.sentiment ?? "")) {
      head.append(element("span", `sentiment ${article.sentiment}`, SENTIMENTS[article.sentiment]));
    }
    const title = element("p", "article-title");
    const href = safe(article.link);
    const words = text(article.title, 300) || text(article.link, 300) || "without a title";
    if (href === null) title.textContent = words;
    else {
      const link = element("a", "", words);
      link.href = href;
      link.target = "_blank";
      link.rel = "noopener noreferrer nofollow";
      title.append(link);
    }
    const foot = element("div", "article-foot soft");
    for (const ticker of (article.tickers ?? []).slice(0, 6)) foot.append(element("span", "ticker", text(ticker, 20)));
    if (article.is_update) foot.append(element("span", "", "revised"));
    if (article.mark?.includes("rest")) foot.append(element("span", "", "fetched after a gap"));
    foot.append(element("span", "number", day(article.at_ms)));
    item.append(head, title, foot);
    return item;
  }
}

function identity(article) {
  return `${article.link} ${article.is_update ? article.title : ""}`;
}

function element(name, className, words = "") {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.textContent = words;
  return made;
}

// Of whatever there is, so many characters.
function text(value, most) {
  const words = typeof value === "string" ? value : "";
  return words.length > most ? `${words.slice(0, most)}…` : words;
}

// The address, if it is one of the web: never javascript:, data: or a path on this server.
export function safe(link) {
  try {
    const url = new URL(link);
    return url.protocol === "https:" || url.protocol === "http:" ? url.href : null;
  } catch {
    return null;
  }
}
