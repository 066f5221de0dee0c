// The picture of a feature's neighbours. What is alike lies near.

import { calm, el, svg, watchWidth } from "./dom.js";
import { cut } from "./format.js";

const FONT = 13;
const LABEL = 22; // characters
const EDGE = [52, 28]; // room for labels at the sides, and above and below
const ruler = document.createElement("canvas").getContext("2d");
ruler.font = `${FONT}px system-ui, sans-serif`;

// Where a label may stand: side of the point, and how far away.
const RINGS = [9, 22, 36, 50];
const SIDES = [[1, 0], [-1, 0], [0, -1], [0, 1], [0.8, -0.7], [0.8, 0.7], [-0.8, -0.7], [-0.8, 0.7]];

export class Picture {
  constructor(pick) {
    Object.assign(this, { pick, marks: new Map(), state: null });
    this.lines = svg("g", { class: "leaders" });
    this.points = svg("g");
    this.drawing = svg("svg", { role: "img" }, this.lines, this.points);
    this.root = el("div", { class: "picture" }, this.drawing);
    watchWidth(this.root, (width) => {
      this.width = width;
      this.#draw(false);
    });
  }

  /** Show points {feature, x, y, kind}; those shown before move to their new places. */
  update(centre, points, label) {
    const same = this.state !== null && this.state.centre.feature === centre.feature;
    this.state = { centre, points };
    this.drawing.setAttribute("aria-label", label);
    this.#draw(same && !calm());
  }

  /** Make one point stand out, or none. */
  highlight(feature) {
    for (const [key, mark] of this.marks) mark.group.classList.toggle("lit", key === feature);
  }

  #draw(moving) {
    if (!this.width || this.state === null) return;
    const { width } = this;
    const height = Math.round(Math.min(440, Math.max(340, width * 0.75)));
    this.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.drawing.classList.toggle("moving", moving);
    const all = [{ ...this.state.centre, x: 0, y: 0, kind: "centre" }, ...this.state.points].map((p) => ({ ...p, text: cut(p.feature, LABEL) }));
    fit(all, width, height);
    placeLabels(all, width, height);
    this.lines.replaceChildren(
      ...all.filter((p) => p.label?.far).map((p) => svg("line", { x1: p.px, y1: p.py, x2: p.label.joint[0], y2: p.label.joint[1], class: p.kind })),
    );
    const before = this.marks;
    this.marks = new Map();
    for (const p of all) {
      const mark = before.get(p.feature) ?? this.#mark(p);
      before.delete(p.feature);
      this.marks.set(p.feature, mark);
      mark.group.setAttribute("class", `point ${p.kind}`);
      mark.group.style.transform = `translate(${p.px}px, ${p.py}px)`;
      mark.text.style.transform = p.label ? `translate(${p.label.x - p.px}px, ${p.label.y - p.py}px)` : "";
      mark.text.classList.toggle("unplaced", !p.label);
    }
    for (const mark of before.values()) mark.group.remove();
  }

  #mark(p) {
    const text = svg("text", {}, p.text);
    const group = svg("g", {}, svg("title", {}, cut(p.feature, 300)), svg("circle", { r: p.kind === "centre" ? 7 : 5 }), text);
    if (p.kind !== "centre") group.addEventListener("click", () => this.pick(p.feature));
    // On top of the others; moved once only, as a node that moves loses the click.
    group.addEventListener("pointerenter", () => this.points.lastChild !== group && this.points.append(group));
    this.points.append(group);
    return { group, text };
  }
}

/** Places on the page, so that all are seen as large as can be; both axes have one scale. */
function fit(points, width, height) {
  const range = (key) => {
    const values = points.map((p) => p[key]);
    return [Math.min(...values), Math.max(...values)];
  };
  const [[left, right], [low, high]] = [range("x"), range("y")];
  const scale = Math.min((width - 2 * EDGE[0]) / (right - left || 1), (height - 2 * EDGE[1]) / (high - low || 1));
  for (const p of points) {
    p.px = width / 2 + (p.x - (left + right) / 2) * scale;
    p.py = height / 2 - (p.y - (low + high) / 2) * scale;
  }
}

/** Give each point a place for its label that nothing else takes; first come, first served. */
function placeLabels(points, width, height) {
  const taken = points.map((p) => [p.px - 6, p.py - 6, p.px + 6, p.py + 6]);
  for (const p of points) {
    const w = ruler.measureText(p.text).width * (p.kind === "centre" ? 1.08 : 1) + 4;
    p.label = null;
    for (const ring of RINGS) {
      for (const [dx, dy] of SIDES) {
        const x = p.px + dx * ring - (dx > 0 ? 0 : dx < 0 ? w : w / 2);
        const y = p.py + dy * (ring + 4) - FONT / 2 - 2;
        const box = [x, y, x + w, y + FONT + 4];
        const outside = box[0] < 0 || box[1] < 0 || box[2] > width || box[3] > height;
        if (outside || taken.some((t) => overlap(t, box))) continue;
        taken.push(box);
        const joint = [Math.min(Math.max(p.px, box[0]), box[2]), Math.min(Math.max(p.py, box[1]), box[3])];
        p.label = { x: x + 2, y: y + FONT, far: ring > RINGS[0], joint };
        break;
      }
      if (p.label) break;
    }
  }
}

const overlap = (a, b) => a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
