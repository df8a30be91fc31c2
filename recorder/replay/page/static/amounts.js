// Amounts as people read them: counts, bytes, shares, rates.

const whole = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

export const count = (number) => whole.format(number);

// 1 message, 2 messages
export const counted = (number, one, many = `${one}s`) => `${count(number)} ${number === 1 ? one : many}`;

export function bytes(size) {
  for (const unit of ["B", "kB", "MB", "GB"]) {
    if (size < 1000) return unit === "B" ? `${size} B` : `${three(size)} ${unit}`;
    size /= 1000;
  }
  return `${three(size)} TB`;
}

// Three figures that matter: 0.25, 3.41, 27.4, 314
export function three(number) {
  const size = Math.abs(number);
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return number.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
}

export const perSecond = (rate) => (rate === 0 ? "0/s" : rate < 0.1 ? `${three(rate * 60)}/min` : `${three(rate)}/s`);

// Cut and never rounded up: with a second missing, nobody reads 100 %.
export function percent(share) {
  if (share >= 1) return "100 %";
  const digits = share >= 0.999 ? 3 : share >= 0.9 ? 2 : 1;
  const scale = 10 ** digits;
  return `${(Math.floor(share * 100 * scale) / scale).toFixed(digits)} %`;
}
