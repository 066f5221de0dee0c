// What the model makes of a row, piece by piece.

import { boundChart, posteriorChart } from "./charts.js";
import { el } from "./dom.js";
import { count, decimal, nats, plural, probability, signed, times } from "./format.js";
import { address } from "./address.js";
import { name, nameLink, nameList, unknownNote } from "./name.js";
import { bar, figures, part, table } from "./table.js";

const SHOWN = 12; // latent dimensions

/** The parts of an answer about one row, and one sentence that sums it up. */
export function showPosterior(found, model, take) {
  const [row] = found.rows;
  const nodes = [
    unknownNote(row.unknown, take),
    summary(row, found),
    el("div", { class: "panels two" }, refinement(row, found), posterior(row)),
    el("div", { class: "panels two" }, probable(row), missing(row)),
    directions(row),
    nearest(row, model),
    counts(row),
  ];
  return { nodes, told: `The bound is ${nats(row.elbo_refined)} nats; refinement added ${nats(row.gap)}.` };
}

function summary(row, found) {
  const perCount = row.total > 0 ? `${decimal(row.elbo_refined / row.total)} nats a count` : null;
  return figures([
    ["Row", `${plural(row.features.length, "feature")}`, `${plural(row.total, "count")} in all; ${probability(row.unknown_share)} of what was given is unknown to the model`],
    ["Before refinement", `${nats(row.elbo_amortized)} nats`, "bound on the row's log-probability at the inference network's first guess"],
    ["After refinement", `${nats(row.elbo_refined)} nats`, perCount],
    ["Gap", `${signed(row.gap)} nats`, `what ${plural(found.refine_steps, "gradient evaluation")} added; a large gap means the network read this row badly`],
  ]);
}

function refinement(row, found) {
  const steps = row.steps;
  const label = `The bound rises from ${nats(row.elbo_amortized)} to ${nats(row.elbo_refined)} nats in ${found.refine_steps} evaluations.`;
  const rows = table(null, [
    { head: "After evaluations", number: true, cell: (s) => count(s.evaluations) },
    { head: "Bound, nats", number: true, cell: (s) => nats(s.elbo) },
    { head: "Standard error", number: true, cell: (s) => (s.standard_error === null ? "" : nats(s.standard_error)) },
  ], steps);
  return part(
    "Refinement, step by step",
    `The bound (ELBO) after each look; higher is better. The band is its Monte Carlo error, from ${plural(found.samples, "draw")}.`,
    boundChart(steps, label),
    el("details", {}, el("summary", {}, "As a table"), rows),
  );
}

function posterior(row) {
  const order = row.kl.map((kl, k) => [kl, k]).sort((a, b) => b[0] - a[0]).slice(0, SHOWN);
  const dimensions = order.map(([kl, k]) => ({
    k, kl,
    before: [row.amortized.mean[k], row.amortized.scale[k]],
    after: [row.refined.mean[k], row.refined.scale[k]],
  }));
  const interval = ([m, s]) => `${decimal(m)} ± ${decimal(s)}`;
  const rows = table(null, [
    { head: "Dimension", cell: (d) => el("a", { href: address("spectrum", { dimension: String(d.k) }) }, `z${d.k}`) },
    { head: "Before", number: true, cell: (d) => interval(d.before) },
    { head: "After", number: true, cell: (d) => interval(d.after) },
    { head: "KL, nats", number: true, cell: (d) => nats(d.kl) },
  ], dimensions);
  return part(
    "Posterior, before and after",
    `The row's place in the ${plural(dimensions.length, "latent dimension")} that it tells most about: mean ± standard deviation.`,
    posteriorChart(dimensions, `Posterior in ${dimensions.length} dimensions; the table has the numbers.`),
    el("p", { class: "keys" }, el("span", { class: "key before" }, "before refinement"), el("span", { class: "key after" }, "after"), el("span", { class: "key prior" }, "the prior")),
    el("details", {}, el("summary", {}, "As a table"), rows),
  );
}

function features(rows, { own }) {
  const most = Math.max(...rows.flatMap((f) => [f.probability, f.before]));
  return table(null, [
    { head: "Feature", named: true, cell: (f) => nameLink(f, 32) },
    { head: "", wide: true, cell: (f) => bar(f.probability / most, { second: f.before / most }) },
    { head: "Probability", number: true, cell: (f) => probability(f.probability) },
    { head: "Before", number: true, cell: (f) => probability(f.before) },
    { head: "Against usual", number: true, cell: (f) => (f.frequency > 0 ? times(f.probability / f.frequency) : "") },
    ...(own ? [{ head: "In row", number: true, cell: (f) => (f.count > 0 ? count(f.count) : "–") }] : []),
  ], rows);
}

function probable(row) {
  return part(
    "Most probable features",
    "The chance that the next count of this row falls on each feature, after refinement (bar) and before (mark). “Against usual” compares it with the feature's share of the training counts.",
    features(row.probable, { own: true }),
  );
}

function missing(row) {
  return part(
    "What is missing",
    "Features that the row makes unusually probable and does not have, most telling first.",
    row.missing.length > 0 ? features(row.missing, { own: false }) : el("p", { class: "empty" }, "None: the row has every feature that it makes probable."),
  );
}

function directions(row) {
  const most = Math.max(...row.directions.map((d) => Math.abs(d.nats)), 1e-9);
  return part(
    "Directions that explain the row",
    `Being where it is, rather than at the middle of the prior, makes the row's features ${signed(row.explained)} nats more probable. Each direction's part of that; open one for each feature's part.`,
    el("div", { class: "cards" }, row.directions.map((d) => direction(d, most))),
    el("p", { class: "quiet" }, `All other directions together: ${signed(row.other_directions)} nats.`),
  );
}

function direction(d, most) {
  const largest = Math.max(...d.contributions.map((c) => Math.abs(c.nats)), 1e-9);
  return el(
    "details",
    { class: "card" },
    el(
      "summary",
      {},
      el("span", { class: "summary-line" }, el("b", {}, `Direction ${d.rank}`), el("span", {}, `${signed(d.nats)} nats`)),
      bar(Math.abs(d.nats) / most, { kind: d.nats < 0 ? "against" : "" }),
      el("span", { class: "quiet" }, d.features.map((f, i) => [i > 0 ? ", " : "", name({ feature: f.feature, description: f.description }, 24)])),
    ),
    table(null, [
      { head: "Feature of the row", named: true, cell: (c) => nameLink(c, 28) },
      { head: "Count", number: true, cell: (c) => count(c.count) },
      { head: "", wide: true, cell: (c) => bar(Math.abs(c.nats) / largest, { kind: c.nats < 0 ? "against" : "" }) },
      { head: "Nats", number: true, cell: (c) => signed(c.nats) },
    ], d.contributions),
    el("p", {}, `The row is at ${decimal(d.place)} standard deviations along it. `, el("a", { href: address("directions", { rank: String(d.rank), at: d.place.toFixed(2) }) }, "Walk along this direction")),
  );
}

function nearest(row, model) {
  let inside;
  if (model.rows === null) {
    inside = el("p", { class: "empty" }, "The explorer was started without rows. “longtail explore model/ rows.parquet” shows the nearest here.");
  } else if (row.nearest === null) {
    inside = el("p", { class: "empty" }, "Rows are still being placed; they appear here when that is done.");
  } else {
    inside = table(null, [
      { head: "Row", named: true, cell: (r) => name({ feature: String(r.row_id) }, 48) },
      { head: "Similarity", number: true, cell: (r) => decimal(r.similarity) },
      { head: "What it is most about", cell: (r) => nameList(r.features, 24) },
    ], row.nearest);
  }
  return part("Nearest rows", "Rows of the data whose posterior means point the same way (cosine, at most 1).", inside);
}

function counts(row) {
  const most = 200;
  return part(
    "The row as the model sees it",
    null,
    el("details", {}, el("summary", {}, plural(row.features.length, "known feature")), nameList(row.features.slice(0, most)), row.features.length > most && el("p", {}, `and ${count(row.features.length - most)} more`)),
  );
}
