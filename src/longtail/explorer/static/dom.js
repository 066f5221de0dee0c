// Elements made by hand. Texts are always set as texts: names of features are anything at all.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "htmlFor", "open"]);

/** An element: el("button", { class: "x", on: { click } }, "text", child). */
export function el(tag, options = {}, ...children) {
  return fill(document.createElement(tag), options, children);
}

const SVG = "http://www.w3.org/2000/svg";

/** The same for drawings. */
export function svg(tag, options = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), options, children);
}

function fill(node, options, children) {
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "on") {
      for (const [event, listen] of Object.entries(value)) node.addEventListener(event, listen);
    } else if (PROPERTIES.has(key)) {
      node[key] = value;
    } else {
      node.setAttribute(key, value === true ? "" : String(value));
    }
  }
  append(node, children);
  return node;
}

/** Add nodes and texts; nothing for null. */
export function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) node.append(child);
  }
}

/** Put these in place of what is in a node. */
export function replace(node, ...children) {
  node.replaceChildren();
  append(node, children);
  return node;
}

let made = 0;

/** An id that no other element has. */
export function freshId(stem) {
  made += 1;
  return `${stem}-${made}`;
}

/** Say something to those who do not see the page. */
export function announce(text) {
  document.getElementById("live").textContent = text;
}

/** Whether things should not move. */
export function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}

/** Call back with the width of a node now and whenever it changes. */
export function watchWidth(node, draw) {
  let last = 0;
  const watcher = new ResizeObserver(() => {
    const width = Math.round(node.clientWidth);
    if (width > 0 && width !== last) {
      last = width;
      draw(width);
    }
  });
  watcher.observe(node);
}
