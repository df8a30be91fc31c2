// Makes elements: element("td", { class: "number", onclick: f, style: { "--share": 0.5 } }, "text", other).
// Text stays text: what was recorded never becomes markup.

const SVG = new Set(["svg", "path", "line", "rect", "circle", "polyline", "title"]);

export function element(tag, attributes = {}, ...children) {
  const made = SVG.has(tag) ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, its] of Object.entries(value)) made.style.setProperty(key, its);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

// Changes a text only where it differs, so that what is selected or read aloud is left alone.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// A sentence in which `words` stand for a command or a setting.
export function prose(text) {
  return text.split("`").map((piece, at) => (at % 2 ? element("code", {}, piece) : piece));
}
