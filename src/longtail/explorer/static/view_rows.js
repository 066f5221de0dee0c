// Rows: what the model makes of a text, or of some features.

import { readBag, whole, writeBag } from "./address.js";
import { AnswerPlace } from "./answer.js";
import { get, post } from "./api.js";
import { Chips } from "./chips.js";
import { el, freshId, replace } from "./dom.js";
import { count } from "./format.js";
import { exposureNote } from "./name.js";
import { showPosterior } from "./posterior.js";

export const title = "Rows";
export const about =
  "Give the model a row of data and see what it infers: its first guess, what refinement adds to it, and which features and directions explain the row.";

export function build({ model, go }) {
  return new Rows(model, go);
}

class Rows {
  constructor(model, go) {
    Object.assign(this, { model, go, asked: null });
    const field = freshId("text");
    this.text = el("textarea", {
      id: field, rows: "5", dir: "auto", maxlength: String(model.limits.text), placeholder: "Paste a text, such as a paragraph",
      on: { keydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && this.#submit() },
    });
    this.textPart = el("div", {}, el("label", { htmlFor: field }, "Text"), this.text, el("div", { class: "buttons" }, el("button", { type: "button", class: "main", on: { click: () => this.#submit() } }, "Infer"), el("span", { class: "quiet" }, "or Ctrl+Enter")));
    this.chips = new Chips({ label: "Features of the row", hint: "Add a feature", counted: true, change: (bag) => this.#change({ kind: "features", x: writeBag(bag) }) });
    this.kinds = this.#kinds();
    const steps = freshId("steps");
    this.steps = el("input", { id: steps, type: "number", min: "0", max: String(model.limits.refine_steps), step: "1", class: "many", on: { change: () => this.#change({ steps: this.steps.value }) } });
    this.example = el("button", { type: "button", on: { click: () => this.#tryExample() } }, "Try an example");
    this.answer = new AnswerPlace();
    this.root = el(
      "div",
      {},
      el("div", { class: "form" }, this.kinds, this.textPart, this.chips.root, el("div", { class: "buttons" }, el("label", { htmlFor: steps }, "Refinement: gradient evaluations "), this.steps, this.example), exposureNote(model)),
      this.answer.root,
    );
  }

  #kinds() {
    if (!this.model.takes_text) return null;
    const group = freshId("kind");
    const choice = (kind, words) =>
      el("label", { class: "check" }, el("input", { type: "radio", name: group, value: kind, on: { change: () => this.#change({ kind }) } }), words);
    return el("fieldset", {}, el("legend", { class: "unseen" }, "What to give"), choice("text", "Paste a text"), choice("features", "Pick features"));
  }

  update(query) {
    const kind = this.model.takes_text && query.get("kind") !== "features" ? "text" : "features";
    const bag = readBag(query, "x");
    const steps = whole(query, "steps", this.model.refine_steps, 0, this.model.limits.refine_steps);
    this.state = { kind, text: query.get("text") ?? "", x: writeBag(bag), steps };
    this.text.value = this.state.text;
    this.chips.set(bag);
    this.steps.value = String(steps);
    this.textPart.hidden = kind !== "text";
    this.chips.root.hidden = kind === "text";
    this.kinds?.querySelectorAll("input").forEach((input) => (input.checked = input.value === kind));
    this.#ask(false);
  }

  rowsReady() {
    if (this.state.text !== "" || this.state.x.length > 0) this.#ask(true);
  }

  leave() {
    this.answer.stop();
  }

  #change(part) {
    const state = { ...this.state, text: this.text.value, ...part };
    const usual = Number(state.steps) === this.model.refine_steps || state.steps === "";
    this.go({ ...state, steps: usual ? "" : state.steps });
  }

  #submit() {
    this.asked = null; // the same text may be asked again
    this.#change({ kind: "text", text: this.text.value });
  }

  #ask(again) {
    const { kind, text, x, steps } = this.state;
    const key = JSON.stringify([kind, kind === "text" ? text : x, steps]);
    if (key === this.asked && !again && !this.answer.unanswered) return;
    this.asked = key;
    const empty = kind === "text" ? text.trim() === "" : x.length === 0;
    this.example.hidden = !empty;
    if (empty) {
      const todo = kind === "text" ? "Paste a text above and press Infer." : "Add features above; the answer follows each change.";
      this.answer.clear(el("p", { class: "empty" }, todo));
      return;
    }
    const row = kind === "text" ? { text } : { counts: Object.fromEntries(this.chips.bag) };
    this.answer.run(
      steps > 0 ? `Refining with ${count(steps)} gradient evaluations` : "Inferring",
      (how) => post("/api/posterior", { rows: [row], refine_steps: steps }, how),
      (found, place) => {
        const { nodes, told } = showPosterior(found, this.model, (old, better) => this.#replaceName(old, better));
        replace(place, nodes);
        return told;
      },
    );
  }

  /** In a text nothing is replaced: it is what it is. */
  #replaceName(old, better) {
    if (this.state.kind === "text") return this.#change({ text: `${this.text.value} ${better}` });
    const bag = new Map(this.chips.bag);
    const n = bag.get(old) ?? 1;
    bag.delete(old);
    bag.set(better, (bag.get(better) ?? 0) + n);
    this.#change({ x: writeBag(bag) });
  }

  /** The features of one end of the strongest direction: they go together. */
  async #tryExample() {
    this.answer.run(
      "Looking for an example",
      (how) => get("/api/directions", { top: 1 }, how),
      ({ directions }) => {
        const features = directions[0]?.positive.features.slice(0, 6).map((f) => f.feature) ?? [];
        this.#change(this.state.kind === "text" ? { text: features.join(" ") } : { x: features.map((f) => `1*${f}`) });
      },
    );
  }
}
