// Chosen features as chips that can be taken away, with a field to add more.

import { announce, el, replace } from "./dom.js";
import { count, inSentence } from "./format.js";
import { name } from "./name.js";
import { Picker } from "./picker.js";

export class Chips {
  /** A bag of names; change(bag) is called with a new one. With `counted`, each has a number. */
  constructor({ label, hint, change, counted = false }) {
    Object.assign(this, { label, change, counted, bag: new Map() });
    this.items = el("ul", { class: "chips", "aria-label": `${label}: chosen` });
    this.picker = new Picker({ label, hint, take: (chosen) => this.#add(chosen) });
    this.root = el("div", { class: "choice" }, this.picker.root, this.items);
  }

  /** Show another bag. */
  set(bag) {
    this.bag = new Map(bag);
    replace(this.items, [...this.bag].map(([feature, n]) => this.#chip(feature, n)));
  }

  #chip(feature, n) {
    const remove = el("button", { type: "button", class: "remove", "aria-label": `Remove ${inSentence(feature)}`, on: { click: () => this.#remove(feature) } }, "×");
    const number = this.counted && el("input", {
      type: "number", min: "1", max: "1000000", step: "1", value: String(n), class: "many",
      "aria-label": `Count of ${inSentence(feature)}`,
      on: { change: (event) => this.#count(feature, event.target) },
    });
    return el("li", { class: "chip" }, name({ feature }, 30), number, remove);
  }

  #add(feature) {
    const bag = new Map(this.bag);
    bag.set(feature, this.counted && bag.has(feature) ? bag.get(feature) + 1 : 1);
    announce(`Added ${inSentence(feature)}.`);
    this.change(bag);
  }

  #remove(feature) {
    const bag = new Map(this.bag);
    bag.delete(feature);
    announce(`Removed ${inSentence(feature)}.`);
    this.picker.focus();
    this.change(bag);
  }

  #count(feature, field) {
    const n = Number(field.value);
    if (!(n > 0 && n <= 2 ** 24)) {
      announce("A count is a number above 0.");
      field.value = count(this.bag.get(feature)).replaceAll(",", "");
      return;
    }
    this.change(new Map(this.bag).set(feature, n));
  }
}
