// Moments and lengths of time as people read them. All moments are milliseconds since 1970, UTC.

const pad = (number, digits = 2) => String(number).padStart(digits, "0");

export function day(ms) {
  return new Date(ms).toISOString().slice(0, 10);
}

// 14:30:07, with so many digits of a second
export function clock(ms, digits = 0) {
  const text = new Date(ms).toISOString().slice(11, 23);
  return digits ? text.slice(0, 9 + digits) : text.slice(0, 8);
}

export function moment(ms, digits = 0) {
  return `${day(ms)} ${clock(ms, digits)}`;
}

// 950 ms, 12.5 s, 3 min 20 s, 5 h 12 min, 3 d 4 h
export function lengthOf(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? Math.round(seconds * 10) / 10 : Math.round(seconds)} s`;
  for (const [size, unit, below, belowUnit] of [
    [86400, "d", 3600, "h"],
    [3600, "h", 60, "min"],
    [60, "min", 1, "s"],
  ]) {
    if (seconds < size) continue;
    const rest = Math.floor((seconds % size) / below);
    return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${belowUnit}` : ""}`;
  }
  return "";
}

// A tick of an axis whose ticks are so far apart.
export function tick(ms, apart) {
  const at = new Date(ms);
  if (apart >= 86_400_000 || ms % 86_400_000 === 0) return `${pad(at.getUTCMonth() + 1)}-${pad(at.getUTCDate())}`;
  if (apart >= 60_000) return clock(ms).slice(0, 5);
  return apart >= 1000 ? clock(ms) : clock(ms, 3).slice(3);
}

// What a reader writes: 2026-01-31 14:30:07, less of it, or ISO 8601; UTC where it names no zone. Null: no moment.
export function read(words) {
  const found = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d{1,9})?)?)?\s*(Z|[+-]\d\d:\d\d)?$/.exec(words.trim());
  const ms = found ? Date.parse(`${found[1]}T${found[2] ?? "00:00"}${(found[3] ?? ":00").slice(0, 7)}${found[4] ?? "Z"}`) : NaN;
  return Number.isFinite(ms) ? ms : null;
}

// What the replay server calls a moment, `2026-01-31T14:30:00.123456789Z`.
export function parsed(iso) {
  return Date.parse(`${iso.slice(0, 23)}Z`);
}
