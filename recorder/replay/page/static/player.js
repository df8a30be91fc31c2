// Plays the recording: range, speed, timeline, prices with the news as marks.

export function show(root) {
  root.textContent = "…";
}

export function hide() {}
