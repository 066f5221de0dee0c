// Recommend: items for a history, and why.

import { readBag, whole, writeBag } from "./address.js";
import { AnswerPlace } from "./answer.js";
import { get, post } from "./api.js";
import { Chips } from "./chips.js";
import { el, freshId, replace } from "./dom.js";
import { inSentence, plural, probability, signed, times } from "./format.js";
import { exposureNote, name, nameLink, unknownNote } from "./name.js";
import { bar } from "./table.js";

export const title = "Recommend";
export const about =
  "Pick what someone already has, and see what the model recommends next, with the picks that speak for it.";

const USUAL = 10;
const REASONS = 3;

export function build({ model, go }) {
  return new Recommend(model, go);
}

class Recommend {
  constructor(model, go) {
    Object.assign(this, { model, go, asked: null });
    this.chips = new Chips({ label: "Has already", hint: "Add an item", change: (bag) => this.#change({ x: writeBag(bag) }) });
    const k = freshId("k");
    this.k = el("input", { id: k, type: "number", min: "1", max: String(model.limits.listed), class: "many", on: { change: () => this.#change({ k: this.k.value }) } });
    this.seen = el("input", { type: "checkbox", on: { change: () => this.#change({ seen: this.seen.checked }) } });
    this.example = el("button", { type: "button", on: { click: () => this.#tryExample() } }, "Try an example");
    this.answer = new AnswerPlace();
    this.root = el(
      "div",
      {},
      el(
        "div",
        { class: "form" },
        this.chips.root,
        el("div", { class: "buttons" }, el("label", { htmlFor: k }, "How many "), this.k, el("label", { class: "check" }, this.seen, "Also what they have"), this.example),
        exposureNote(model),
      ),
      this.answer.root,
    );
  }

  update(query) {
    const bag = readBag(query, "x");
    const k = whole(query, "k", USUAL, 1, this.model.limits.listed);
    this.state = { x: writeBag(bag), k, seen: query.has("seen") };
    this.chips.set(bag);
    this.k.value = String(k);
    this.seen.checked = this.state.seen;
    this.#ask(bag);
  }

  leave() {
    this.answer.stop();
  }

  #change(part) {
    const state = { ...this.state, ...part };
    this.go({ ...state, k: Number(state.k) === USUAL ? "" : state.k });
  }

  #ask(bag) {
    const key = JSON.stringify(this.state);
    if (key === this.asked && !this.answer.unanswered) return;
    this.asked = key;
    this.example.hidden = bag.size > 0;
    if (bag.size === 0) {
      this.answer.clear(el("p", { class: "empty" }, "Add an item above; recommendations follow each change."));
      return;
    }
    const { k, seen } = this.state;
    this.answer.run(
      "Choosing items",
      (how) => post("/api/recommend", { rows: [{ items: [...bag.keys()] }], k, reasons: REASONS, exclude_seen: !seen }, how),
      (found, place) => this.#show(found.rows[0], place),
    );
  }

  #show({ known, unknown, items }, place) {
    const most = Math.max(...items.flatMap((i) => i.reasons.map((r) => r.nats)), 1e-9);
    replace(
      place,
      unknownNote(unknown, (old, better) => this.#replaceName(old, better)),
      items.length === 0
        ? el("p", { class: "empty" }, "Nothing is left to recommend.")
        : [
            el("p", { class: "told-of" }, `From ${plural(known, "known item")}, best first. The probability is that of the next pick; the usual share is the item's part of the training counts. Reasons: how much each pick raises the item's log-probability, in nats.`),
            el("ol", { class: "cards recommended" }, items.map((item) => this.#card(item, most))),
          ],
    );
    return `${plural(items.length, "recommendation")}.`;
  }

  #card(item, most) {
    const add = () => this.#change({ x: [...this.state.x, `1*${item.feature}`] });
    const reasons = item.reasons.map((r) => el("li", {}, el("span", { class: "what" }, name(r, 28)), bar(r.nats / most), el("span", { class: "number" }, signed(r.nats))));
    return el(
      "li",
      { class: "card" },
      el("h3", {}, nameLink(item, 40)),
      el("p", {}, el("b", {}, probability(item.probability)), ` probability, ${times(Math.exp(item.lift))} its usual share`),
      reasons.length > 0
        ? el("div", {}, el("p", { class: "quiet" }, "because of"), el("ul", { class: "reasons" }, reasons))
        : el("p", { class: "quiet" }, "No pick speaks for it: it is popular."),
      !this.chips.bag.has(item.feature) && el("button", { type: "button", class: "small", "aria-label": `Add ${inSentence(item.feature)} to the picks`, on: { click: add } }, "Add to picks"),
    );
  }

  #replaceName(old, better) {
    const bag = new Map(this.chips.bag);
    bag.delete(old);
    bag.set(better, 1);
    this.#change({ x: writeBag(bag) });
  }

  /** The features of one end of the strongest direction: they go together. */
  #tryExample() {
    this.answer.run(
      "Looking for an example",
      (how) => get("/api/directions", { top: 1 }, how),
      ({ directions }) => this.#change({ x: directions[0]?.positive.features.slice(0, 3).map((f) => `1*${f.feature}`) ?? [] }),
    );
  }
}
