// Drawings of numbers. Each has its table beside it or behind it, so readers of either get all.

import { el, svg, watchWidth } from "./dom.js";
import { count, decimal, nats } from "./format.js";

/** A figure that is drawn anew when its width changes: draw(width) gives the height and nodes. */
function drawn(label, draw, { kind = "" } = {}) {
  const drawing = svg("svg", { role: "img", "aria-label": label });
  const holder = el("div", { class: `chart ${kind}`.trim() }, drawing);
  watchWidth(holder, (width) => {
    const { height, nodes } = draw(width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    drawing.replaceChildren(...nodes.flat(Infinity).filter(Boolean));
  });
  return holder;
}

const text = (x, y, words, anchor = "middle", kind = "") => svg("text", { x, y, "text-anchor": anchor, class: kind }, words);
const line = (x1, y1, x2, y2, kind) => svg("line", { x1, y1, x2, y2, class: kind });

/** Numbers at even distances that people would choose. */
export function ticks(low, high, about = 4) {
  if (!(high > low)) return [low];
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let t = Math.ceil(low / step) * step; t <= high + step * 1e-9; t += step) found.push(t);
  return found;
}

/** The bound after each look of the refinement, with its error. */
export function boundChart(steps, label) {
  const errors = steps.map((s) => s.standard_error ?? 0);
  const low = Math.min(...steps.map((s, i) => s.elbo - errors[i]));
  const high = Math.max(...steps.map((s, i) => s.elbo + errors[i]));
  const last = Math.max(1, steps.at(-1).evaluations);
  return drawn(label, (width) => {
    const [left, right, top, height] = [64, 12, 10, 300];
    const bottom = height - 42;
    const x = (n) => left + (n / last) * (width - left - right);
    const span = high - low || 1;
    const y = (v) => bottom - ((v - low) / span) * (bottom - top);
    const edge = (sign) => steps.map((s, i) => `${x(s.evaluations)},${y(s.elbo + sign * errors[i])}`);
    return {
      height,
      nodes: [
        ticks(low, high).map((t) => [line(left, y(t), width - right, y(t), "grid"), text(left - 8, y(t) + 4, count(t), "end")]),
        ticks(0, last, width < 420 ? 4 : 6).map((t) => text(x(t), bottom + 18, count(t))),
        text((left + width - right) / 2, height - 4, "gradient evaluations of the refinement", "middle", "axis"),
        svg("text", { transform: `translate(13 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle", class: "axis" }, "bound, nats"),
        svg("polygon", { points: [...edge(1), ...edge(-1).reverse()].join(" "), class: "band" }),
        svg("polyline", { points: steps.map((s) => `${x(s.evaluations)},${y(s.elbo)}`).join(" "), class: "curve" }),
        steps.map((s) => svg("circle", { cx: x(s.evaluations), cy: y(s.elbo), r: 3.5, class: "dot" }, svg("title", {}, `after ${s.evaluations}: ${nats(s.elbo)} nats`))),
      ],
    };
  });
}

/** Intervals of the posterior in some dimensions, before and after. */
export function posteriorChart(dimensions, label) {
  const ends = dimensions.flatMap((d) => [d.before, d.after].flatMap(([m, s]) => [m - s, m + s]));
  const reach = Math.max(1.2, ...ends.map(Math.abs));
  return drawn(label, (width) => {
    const [left, right, top, step] = [46, 12, 8, 26];
    const height = top + step * dimensions.length + 40;
    const x = (v) => left + ((v + reach) / (2 * reach)) * (width - left - right);
    const interval = ([m, s], y, kind) => [line(x(m - s), y, x(m + s), y, kind), svg("circle", { cx: x(m), cy: y, r: 4, class: kind })];
    const bottom = top + step * dimensions.length;
    return {
      height,
      nodes: [
        svg("rect", { x: x(-1), y: top, width: x(1) - x(-1), height: bottom - top, class: "prior" }),
        ticks(-reach, reach, 6).map((t) => [line(x(t), top, x(t), bottom, "grid"), text(x(t), bottom + 16, count(t))]),
        dimensions.map((d, i) => {
          const y = top + step * (i + 0.5);
          return [text(left - 8, y + 4, `z${d.k}`, "end"), interval(d.before, y - 4, "before"), interval(d.after, y + 4, "after")];
        }),
        text((left + width - right) / 2, height - 4, "place in the dimension (prior: 0 ± 1)", "middle", "axis"),
      ],
    };
  });
}

/** Bars, some of them live, one chosen; clicks choose. `lines` are {value, words}. */
export function barsChart({ values, live, lines = [], label, unit, chosen = () => -1, choose = null, height = 150 }) {
  const most = Math.max(...values, ...lines.map((l) => l.value), 1e-12) * 1.05;
  let bars = [];
  const holder = drawn(
    label,
    (width) => {
      const [left, right, top] = [48, 4, 18];
      const bottom = height - 8;
      const y = (v) => bottom - (Math.max(0, v) / most) * (bottom - top);
      const step = (width - left - right) / values.length;
      const gap = step > 4 ? 1 : 0;
      bars = values.map((v, i) => svg("rect", { x: left + i * step + gap / 2, y: Math.min(y(v), bottom - 1), width: Math.max(0.5, step - gap), height: Math.max(1, bottom - y(v)), class: live[i] ? "live" : "dead" }));
      const hit = choose && svg("rect", { x: left, y: 0, width: width - left - right, height, class: "hit" });
      hit?.addEventListener("click", (event) => {
        const box = hit.getBoundingClientRect();
        choose(Math.min(values.length - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * values.length))));
      });
      mark(chosen());
      return {
        height,
        nodes: [
          ticks(0, most, 3).map((t) => [line(left, y(t), width - right, y(t), "grid"), text(left - 6, y(t) + 4, most < 0.02 ? t.toExponential(0) : count(t), "end")]),
          bars,
          lines.map((l) => [line(left, y(l.value), width - right, y(l.value), "halo"), line(left, y(l.value), width - right, y(l.value), "limit"), text(width - right, 10, `${l.words} ${decimal(l.value)}`, "end", "limit")]),
          unit && text(left + 2, 10, unit, "start", "axis"),
          hit,
        ],
      };
    },
    { kind: choose ? "choosing" : "" },
  );
  function mark(i) {
    bars.forEach((one, j) => one.classList.toggle("chosen", j === i));
  }
  return { holder, mark };
}
