// Tables with bars, and pairs of words and figures.

import { el } from "./dom.js";

/** A table; each column is {head, cell(row)} and of a kind: named, number or wide. */
export function table(caption, columns, rows) {
  const kind = (c) => [c.named && "named", c.number && "number", c.wide && "wide"].filter(Boolean).join(" ") || null;
  return el(
    "div",
    { class: "scroll" },
    el(
      "table",
      { class: columns.length > 4 ? "full" : null },
      caption && el("caption", {}, caption),
      el("thead", {}, el("tr", {}, columns.map((c) => el("th", { scope: "col", class: kind(c) }, c.head)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, columns.map((c) => el("td", { class: kind(c) }, c.cell(row)))))),
    ),
  );
}

/** A bar of a share of its width; `second` is a mark on it. */
export function bar(share, { second = null, kind = "" } = {}) {
  const inner = el("span");
  inner.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  const mark = second === null ? null : el("i");
  if (mark) mark.style.left = `${100 * Math.min(1, Math.max(0, second))}%`;
  return el("span", { class: `bar ${kind}`.trim(), "aria-hidden": "true" }, inner, mark);
}

/** Figures, each with what it is: [[word, figure, explanation]]. */
export function figures(entries) {
  return el(
    "dl",
    { class: "figures" },
    entries.map(([word, figure, told]) => el("div", {}, el("dt", {}, word), el("dd", {}, el("b", {}, figure), told && el("span", {}, told)))),
  );
}

/** A part of an answer, with a sentence that says what it shows. */
export function part(title, told, ...children) {
  return el("section", { class: "part" }, el("h2", {}, title), told && el("p", { class: "told-of" }, told), children);
}
