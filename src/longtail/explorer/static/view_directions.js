// Directions: walk along one and watch probabilities change.

import { whole } from "./address.js";
import { AnswerPlace } from "./answer.js";
import { get } from "./api.js";
import { el, freshId, replace } from "./dom.js";
import { decimal, inSentence, plural, probability, times } from "./format.js";
import { ends } from "./ends.js";
import { nameLink } from "./name.js";
import { bar, part } from "./table.js";

export const title = "Directions";
export const about =
  "Move along a direction of the latent space and watch which features become more probable and which less.";

const REACH = 3;
const STEPS = 61;
const LOOKED_AT = 80; // features that change most, of which few may rise to one of the sides
const SHOWN = 10; // on each side

export function build({ model, go }) {
  return new Directions(model, go);
}

class Directions {
  constructor(model, go) {
    Object.assign(this, { model, go, asked: null, found: null, walk: null });
    const choice = freshId("direction");
    this.choice = el("select", { id: choice, on: { change: () => this.#choose(this.choice.value) } });
    const slider = freshId("slider");
    this.slider = el("input", {
      id: slider, type: "range", min: String(-REACH), max: String(REACH), step: "0.1", disabled: true,
      on: { input: () => this.#move(), change: () => this.#keep() },
    });
    this.place = el("output", { htmlFor: slider });
    this.answer = new AnswerPlace();
    this.root = el(
      "div",
      {},
      el(
        "div",
        { class: "form" },
        el("div", { class: "choice" }, el("label", { htmlFor: choice }, "Direction"), this.choice),
        el("div", { class: "choice grows" }, el("label", { htmlFor: slider }, "Place along it: ", this.place), this.slider, el("p", { class: "quiet ends" }, el("span", {}, "← minus end"), el("span", {}, "middle of the prior"), el("span", {}, "plus end →"))),
      ),
      this.answer.root,
    );
  }

  update(query) {
    const dimension = query.has("dimension");
    const index = dimension
      ? whole(query, "dimension", 0, 0, this.model.components - 1)
      : whole(query, "rank", 1, 1, this.model.limits.listed);
    const at = Math.min(REACH, Math.max(-REACH, Number(query.get("at")) || 0));
    this.state = { axis: dimension ? "dimension" : "direction", index, at };
    this.slider.value = String(at);
    this.#move();
    this.#ask(false);
  }

  rowsReady() {
    this.found = null;
    this.#ask(true);
  }

  leave() {
    this.answer.stop();
  }

  #ask(again) {
    const { axis, index } = this.state;
    const key = `${axis} ${index}`;
    if (key === this.asked && !again && !this.answer.unanswered) return;
    this.asked = key;
    this.slider.disabled = true;
    this.answer.run("Walking along the direction", (how) => this.#load(axis, index, how), (answer, place) => this.#show(answer, place));
  }

  async #load(axis, index, how) {
    const walk = get("/api/walk", { axis, index, steps: STEPS, reach: REACH, top: LOOKED_AT }, how);
    const list = this.found ?? get("/api/directions", { top: this.model.limits.listed }, how);
    const dimension = axis === "dimension" ? get(`/api/dimension/${index}`, {}, how) : null;
    const [found, walked, one] = await Promise.all([list, walk, dimension]);
    return { found, walked, both: one ?? found.directions[index - 1] };
  }

  #show({ found, walked, both }, place) {
    this.found = found;
    this.walk = walked;
    this.#list();
    this.slider.disabled = false;
    this.rows = [];
    const group = (heading, wanted) => {
      const features = walked.features.filter((f) => f.probabilities.at(-1) < f.probabilities[0] === wanted).slice(0, SHOWN);
      const most = Math.max(...features.flatMap((f) => f.probabilities));
      const rows = features.map((f) => walkedRow(f, most));
      this.rows.push(...rows);
      return part(heading, null, rows.length > 0 ? el("ul", { class: "walk" }, rows.map((r) => r.root)) : el("p", { class: "empty" }, "None of these."));
    };
    replace(
      place,
      el("p", { class: "told-of" }, "Bars are probabilities of the features that change most, on one scale in each list; × says how many times the probability at the middle it is."),
      el("div", { class: "panels two" }, group("More probable to the left", true), group("More probable to the right", false)),
      el("h2", {}, "What lies at the ends"),
      el("p", { class: "told-of" }, `${facts(this.state, both)} Weights say how fast a feature's root probability changes.`),
      ends(both, this.model),
    );
    this.#move();
    return `${walked.name}: ${plural(this.rows.length, "feature")}.`;
  }

  #list() {
    const { axis, index } = this.state;
    const options = this.found.directions.map((d) => {
      const words = (end) => end.features.slice(0, 2).map((f) => inSentence(f.feature, 16)).join(", ");
      return el("option", { value: `rank ${d.rank}` }, `${d.rank}: ${words(d.negative)} ↔ ${words(d.positive)}`);
    });
    if (axis === "dimension") options.unshift(el("option", { value: `dimension ${index}` }, `dimension z${index}`));
    replace(this.choice, options);
    this.choice.value = axis === "dimension" ? `dimension ${index}` : `rank ${index}`;
  }

  #choose(value) {
    const [key, index] = value.split(" ");
    this.go({ [key]: index });
  }

  #move() {
    const at = Number(this.slider.value);
    this.place.textContent = `${decimal(at)} standard deviations`;
    this.slider.setAttribute("aria-valuetext", `${decimal(at)} standard deviations`);
    if (this.walk === null || this.slider.disabled) return;
    const places = this.walk.places;
    const step = (places.at(-1) - places[0]) / (places.length - 1);
    const i = Math.min(places.length - 1, Math.max(0, Math.round((at - places[0]) / step)));
    const middle = (places.length - 1) / 2;
    for (const row of this.rows) row.move(i, middle);
  }

  /** Each stop is kept in the address, without filling the history. */
  #keep() {
    const { axis, index } = this.state;
    const at = Number(this.slider.value);
    const parameters = { [axis === "dimension" ? "dimension" : "rank"]: String(index), at: at === 0 ? "" : String(at) };
    this.go(parameters, { replaced: true });
  }
}

function walkedRow(feature, most) {
  const meter = bar(0);
  const p = el("span", { class: "number" });
  const ratio = el("span", { class: "number quiet" });
  const root = el("li", {}, el("span", { class: "what" }, nameLink(feature, 30)), meter, p, ratio);
  const move = (i, middle) => {
    const now = feature.probabilities[i];
    const usual = feature.probabilities[middle];
    meter.firstChild.style.width = `${(100 * now) / most}%`;
    p.textContent = probability(now);
    ratio.textContent = usual > 0 ? times(now / usual) : "";
  };
  return { root, move };
}

function facts({ axis, index }, both) {
  if (axis === "dimension") return `Latent dimension z${index}.`;
  const variance = both.variance === null ? "" : ` Over the rows its posterior mean has variance ${decimal(both.variance)}.`;
  return `Direction ${index} has ${probability(both.share)} of the effect of all.${variance}`;
}
