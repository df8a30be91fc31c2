// Light or dark: as the system is, until the button says otherwise. Colours are declared once, in style.css.

const KEY = "recorder.theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };
const WORDS = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" };
const dark = matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set();
let chosen = "auto";

function apply() {
  if (chosen === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = chosen;
  for (const listener of listeners) listener();
}

export function startTheme(button) {
  const kept = localStorage.getItem(KEY);
  if (kept in NEXT) chosen = kept;
  const label = () => {
    button.textContent = WORDS[chosen];
    button.setAttribute("aria-label", `Colours: ${chosen}. Change to ${NEXT[chosen]}`);
  };
  button.addEventListener("click", () => {
    chosen = NEXT[chosen];
    localStorage.setItem(KEY, chosen);
    label();
    apply();
  });
  dark.addEventListener("change", apply);
  label();
  apply();
}

// Called whenever colours have changed, for what is drawn on a canvas. Returns how to stop it.
export function onTheme(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

// A custom property of style.css as the colour it is now: colour("--accent") is "rgb(31, 111, 107)".
export function colour(name) {
  const probe = document.createElement("i");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
