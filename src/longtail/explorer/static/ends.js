// The two ends of a direction or a dimension: features and rows.

import { el, freshId } from "./dom.js";
import { decimal, small } from "./format.js";
import { name, nameLink, nameList } from "./name.js";
import { bar, table } from "./table.js";

/** Both ends, side by side. */
export function ends({ positive, negative }, model) {
  const all = [...positive.features, ...negative.features].map((f) => Math.abs(f.weight));
  const most = Math.max(...all, 1e-12);
  return el(
    "div",
    { class: "panels two" },
    end("Minus end (left)", negative, most, model),
    end("Plus end (right)", positive, most, model),
  );
}

function end(title, { features, rows }, most, model) {
  const id = freshId("end");
  const words = table(null, [
    { head: "Feature", named: true, cell: (f) => nameLink(f, 32) },
    { head: "", wide: true, cell: (f) => bar(Math.abs(f.weight) / most) },
    { head: "Weight", number: true, cell: (f) => small(Math.abs(f.weight)) },
  ], features);
  return el(
    "section",
    { class: "part", "aria-labelledby": id },
    el("h2", { id }, title),
    features.length > 0 ? words : el("p", { class: "empty" }, "No feature points this way."),
    el("h3", {}, "Rows furthest this way"),
    placed(rows, model),
  );
}

function placed(rows, model) {
  if (model.rows === null) return el("p", { class: "empty" }, "The explorer was started without rows.");
  if (!model.rows.ready) return el("p", { class: "empty" }, "Rows are still being placed; they appear here when that is done.");
  if (rows.length === 0) return el("p", { class: "empty" }, "None.");
  return table(null, [
    { head: "Row", named: true, cell: (r) => name({ feature: String(r.row_id) }, 40) },
    { head: "Place", number: true, cell: (r) => decimal(r.place) },
    { head: "What it is most about", cell: (r) => nameList(r.features.slice(0, 5), 20) },
  ], rows);
}
