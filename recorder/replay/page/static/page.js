// The page's frame: which view is shown, by the hash (`#overview`, `#player?from=…`), and light or dark.
// Each view is a module that exports `show(root, parameters)` and `hide(root)`; it is loaded when first shown.

import { startTheme } from "./theme.js";

const VIEWS = ["overview", "player"];
const loaded = new Map();
let shown = null;

async function route() {
  const [name, query] = location.hash.slice(1).split("?");
  const wanted = VIEWS.includes(name) ? name : "overview";
  for (const link of document.querySelectorAll("nav [data-view]")) {
    if (link.dataset.view === wanted) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (shown !== null && shown !== wanted) {
    const root = document.getElementById(`view-${shown}`);
    root.hidden = true;
    loaded.get(shown)?.hide(root);
  }
  shown = wanted;
  const root = document.getElementById(`view-${wanted}`);
  root.hidden = false;
  document.title = wanted === "overview" ? "recorder" : `recorder · ${wanted}`;
  if (!loaded.has(wanted)) {
    try {
      loaded.set(wanted, await import(`./${wanted}.js`));
    } catch (error) {
      root.textContent = `This view could not be loaded: ${error.message}. Reload the page when the server is back.`;
      return;
    }
  }
  if (shown === wanted) loaded.get(wanted).show(root, new URLSearchParams(query ?? ""));
}

startTheme(document.getElementById("theme"));
addEventListener("hashchange", route);
route();
