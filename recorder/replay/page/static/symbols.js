// Which symbol is looked at: a few as buttons with their last price, many as a list.

import { say } from "./telling.js";

const BUTTONS_MAX = 16;

export class Symbols {
  // `chosen(symbol)`: the reader chose it
  constructor(buttons, list, chosen) {
    this.buttons = buttons;
    this.list = list;
    this.chosen = chosen;
    this.all = [];
    list.addEventListener("change", () => chosen(list.value));
  }

  show(all) {
    this.all = all;
    const few = all.length <= BUTTONS_MAX;
    this.list.hidden = few;
    this.list.replaceChildren(...(few ? [] : all.map((symbol) => new Option(symbol, symbol))));
    this.buttons.replaceChildren(...(few ? all : []).map((symbol) => {
      const button = document.createElement("button"), name = document.createElement("b"), price = document.createElement("span");
      button.type = "button";
      button.className = "chip";
      button.dataset.symbol = name.textContent = symbol;
      price.className = "number soft";
      button.append(name, price);
      button.addEventListener("click", () => this.chosen(symbol));
      return button;
    }));
  }

  mark(symbol) {
    for (const button of this.buttons.children) button.setAttribute("aria-pressed", button.dataset.symbol === symbol);
    if (symbol !== null) this.list.value = symbol;
  }

  // `prices`: the last ones, by symbol
  tell(prices) {
    for (const button of this.buttons.children) {
      const price = prices.get(button.dataset.symbol);
      if (price !== undefined) say(button.lastElementChild, String(price));
    }
  }

  // The one so many places behind this one, if it is there.
  beside(symbol, step) {
    return this.all[this.all.indexOf(symbol) + step];
  }
}
