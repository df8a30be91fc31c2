// The keyboard of the player. Fields and dialogs keep their keys; a focused button keeps Space and Enter.

// `does`: what each key does, by `event.key`, or "Shift+" and that. Returns how to stop listening.
export function listen(does) {
  const pressed = (event) => {
    const { target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || document.querySelector("dialog[open]")) return;
    if (target.closest?.("input:not([type=checkbox]), select, textarea")) return;
    if (event.key === " " && target.closest?.("button, a, input")) return;
    const action = does[event.shiftKey && event.key.length > 1 ? `Shift+${event.key}` : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}
