// Spectrum: which latent directions and dimensions the model uses.

import { address } from "./address.js";
import { AnswerPlace } from "./answer.js";
import { get } from "./api.js";
import { barsChart } from "./charts.js";
import { announce, el, freshId, replace } from "./dom.js";
import { coarse, count, decimal, nats, small } from "./format.js";
import { ends } from "./ends.js";
import { figures, part, table } from "./table.js";

export const title = "Spectrum";
export const about =
  "See how much of its latent space the model uses. Choose a dimension to see the features and rows at its ends.";

const KL = 0.05; // nats, as the library counts a dimension as used
const VARIANCE = 0.01; // Burda et al. 2016

export function build({ model, go }) {
  return new SpectrumView(model, go);
}

class SpectrumView {
  constructor(model, go) {
    Object.assign(this, { model, go, spectrum: null, asked: null, linked: [] });
    this.answer = new AnswerPlace();
    this.detail = new AnswerPlace();
    this.root = el("div", {}, this.answer.root, this.detail.root);
  }

  update(query) {
    const given = query.get("dimension");
    const k = given === null ? NaN : Number(given);
    this.chosen = Number.isInteger(k) ? k : null;
    if (this.spectrum === null) this.#load();
    else this.#select();
  }

  rowsReady() {
    this.asked = null;
    this.#load();
  }

  leave() {
    this.answer.stop();
    this.detail.stop();
  }

  #load() {
    this.answer.run("Reading the spectrum", (how) => get("/api/spectrum", {}, how), (found, place) => {
      this.spectrum = found;
      this.order = found.dimensions.map((d) => d.dimension).sort((a, b) => found.dimensions[b].column_norm - found.dimensions[a].column_norm);
      this.#show(found, place);
      this.#select();
      return `${found.live} of ${found.components} directions are live.`;
    });
  }

  #show(s, place) {
    const top = barsChart({
      values: s.root_eigenvalues,
      live: s.root_eigenvalues.map((v) => v > s.threshold),
      lines: [{ value: s.threshold, words: "threshold" }],
      label: `Strength of ${s.components} directions, from ${small(s.root_eigenvalues[0])} down; ${s.live} are above the threshold.`,
      height: 190,
    });
    const behind = table(null, [
      { head: "Direction", number: true, cell: (i) => String(i + 1) },
      { head: "Root mean square effect", number: true, cell: (i) => small(s.root_eigenvalues[i]) },
      { head: "Singular value of the mean effect", number: true, cell: (i) => small(s.singular_values[i]) },
    ], s.root_eigenvalues.map((_, i) => i));
    replace(
      place,
      figures([
        ["Live directions", `${s.live} of ${s.components}`, `above the threshold: ${s.threshold_rule}`],
        ["Effective rank", coarse(s.effective_rank), "how many equally strong directions would be as rich"],
        ["Rows looked at", s.n_rows > 0 ? count(s.n_rows) : "none", s.n_rows > 0 ? null : this.#noRows()],
      ]),
      el("p", { class: "verdict" }, s.advice),
      part("Spectrum", "How strongly each latent direction moves the root probabilities of the features, strongest first. Coloured bars are live; grey ones say next to nothing.", top.holder, el("details", {}, el("summary", {}, "As a table"), behind)),
      this.#dimensions(s),
    );
  }

  #noRows() {
    return this.model.rows === null ? "start the explorer with rows to see KL and variance" : "rows are still being placed";
  }

  #dimensions(s) {
    const id = freshId("dimension");
    this.choice = el("select", { id, on: { change: () => this.#choose(this.choice.value) } }, el("option", { value: "" }, "none"), this.order.map((k) => el("option", { value: String(k) }, `z${k}`)));
    const live = this.order.map((k) => s.dimensions[k].live);
    const panel = (key, unit, threshold) =>
      s.dimensions[0][key] === null
        ? null
        : barsChart({
            values: this.order.map((k) => s.dimensions[k][key]),
            live, unit,
            lines: [{ value: threshold, words: "threshold" }],
            label: `${unit} of each latent dimension.`,
            chosen: () => this.order.indexOf(this.chosen),
            choose: (i) => this.#choose(String(this.order[i])),
          });
    this.linked = [panel("column_norm", "effect (column norm)", s.threshold), panel("kl", "mean KL, nats", KL), panel("variance", "variance of the mean", VARIANCE)].filter(Boolean);
    const stack = el(
      "div",
      {
        class: "linked", tabindex: "0", role: "slider", "aria-label": "Latent dimension", "aria-valuemin": "1", "aria-valuemax": String(this.order.length),
        on: { keydown: (event) => this.#key(event) },
      },
      this.linked.map((c) => c.holder),
    );
    this.stack = stack;
    return part(
      "Dimensions",
      "The axes of the latent space, in the same order in each chart: effect on the probabilities, mean KL from the prior, and variance of the posterior mean over the rows. Choose one with a click or the arrow keys.",
      el("div", { class: "choice" }, el("label", { htmlFor: id }, "Dimension"), this.choice),
      stack,
    );
  }

  #key(event) {
    const at = this.order.indexOf(this.chosen);
    const last = this.order.length - 1;
    const to = { ArrowRight: at + 1, ArrowUp: at + 1, ArrowLeft: at - 1, ArrowDown: at - 1, Home: 0, End: last }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    this.#choose(String(this.order[Math.min(last, Math.max(0, to))]), true);
  }

  #choose(value, replaced = false) {
    this.go({ dimension: value }, { replaced });
  }

  #select() {
    const at = this.order.indexOf(this.chosen);
    for (const chart of this.linked) chart.mark(at);
    this.choice.value = at < 0 ? "" : String(this.chosen);
    this.stack.setAttribute("aria-valuenow", String(at + 1));
    this.stack.setAttribute("aria-valuetext", at < 0 ? "none" : `z${this.chosen}, ${at + 1} of ${this.order.length}`);
    if (this.chosen === this.asked && !this.detail.unanswered) return;
    this.asked = this.chosen;
    if (this.chosen === null) {
      this.detail.clear();
      return;
    }
    this.detail.run("Reading the dimension", (how) => get(`/api/dimension/${this.chosen}`, {}, how), (found, place) => {
      replace(place, this.#detail(found));
      announce(`z${found.dimension.dimension}`);
    });
  }

  #detail(found) {
    const d = found.dimension;
    const known = d.kl === null ? [] : [["Mean KL", `${nats(d.kl)} nats`, "what the rows tell about it"], ["Variance", decimal(d.variance), "of the posterior mean, over the rows"]];
    return [
      el("h2", { class: "chosen" }, `Dimension z${d.dimension}`, el("span", { class: d.live ? "tag live" : "tag" }, d.live ? "in use" : "not in use")),
      figures([["Effect", small(d.column_norm), "column norm of the Jacobian"], ...known]),
      el("p", {}, el("a", { href: address("directions", { dimension: String(d.dimension) }) }, "Walk along this dimension")),
      ends(found, this.model),
    ];
  }
}
