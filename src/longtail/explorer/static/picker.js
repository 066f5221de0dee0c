// A field in which a feature's name is typed and found: a combobox (ARIA 1.2, list autocomplete).

import { get } from "./api.js";
import { announce, el, freshId, replace } from "./dom.js";
import { plural, probability } from "./format.js";
import { name } from "./name.js";

const PAUSE = 120; // milliseconds after the last key
const LISTED = 10;

export class Picker {
  /** take(name) is called with what was chosen; `keep` leaves the name in the field. */
  constructor({ label, hint = "Type a name", take, keep = false, prefix = 200 }) {
    Object.assign(this, { take, keep, prefix, found: [], active: -1, timer: 0, control: null, quiet: false });
    const list = freshId("list");
    const field = freshId("field");
    this.input = el("input", {
      id: field,
      type: "text",
      role: "combobox",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      placeholder: hint,
      dir: "auto",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": list,
      on: {
        input: () => this.#soon(),
        focus: () => (this.input.value !== "" ? this.input.select() : this.quiet || this.#soon()),
        keydown: (event) => this.#key(event),
        blur: () => this.#close(),
      },
    });
    this.list = el("ul", { id: list, role: "listbox", "aria-label": label, hidden: true, tabindex: "-1" });
    this.root = el("div", { class: "picker" }, el("label", { htmlFor: field }, label), el("div", { class: "field" }, this.input, this.list));
  }

  set value(text) {
    if (document.activeElement !== this.input || this.list.hidden) this.input.value = text;
  }

  /** Take the focus, without a list that would cover what has just changed. */
  focus() {
    this.quiet = true;
    this.input.focus();
    this.quiet = false;
  }

  #soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#find(), PAUSE);
  }

  async #find() {
    this.control?.abort();
    this.control = new AbortController();
    const typed = Array.from(this.input.value).slice(0, this.prefix).join("").toWellFormed();
    let answer;
    try {
      answer = await get("/api/features", { prefix: typed, limit: LISTED }, { signal: this.control.signal });
    } catch (error) {
      if (error.name === "AbortError") return;
      answer = { features: [], more: false, message: error.message };
    }
    if (document.activeElement === this.input) this.#show(answer);
  }

  #show({ features, more, message }) {
    this.found = features;
    this.#mark(-1);
    const note = message ?? (features.length === 0 ? "No feature begins so." : more ? "More: type on." : null);
    replace(
      this.list,
      features.map((feature, i) =>
        el(
          "li",
          {
            id: `${this.list.id}-${i}`,
            role: "option",
            "aria-selected": "false",
            // Before the field loses the focus, which would close the list.
            on: { mousedown: (event) => event.preventDefault(), click: () => this.#choose(feature.feature) },
          },
          el("span", { class: "what" }, name(feature, 40)),
          el("span", { class: "much" }, probability(feature.frequency)),
        ),
      ),
      note && el("li", { class: "hint", role: "presentation" }, note),
    );
    this.list.hidden = false;
    this.input.setAttribute("aria-expanded", "true");
    announce(note && features.length === 0 ? note : `${plural(features.length, "suggestion")}; arrow keys choose.`);
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      if (this.list.hidden) return void this.#find();
      const n = this.found.length;
      const step = event.key === "ArrowDown" ? 1 : -1;
      if (n > 0) this.#mark(this.active < 0 ? (step > 0 ? 0 : n - 1) : (this.active + step + n) % n);
    } else if (event.key === "Enter") {
      event.preventDefault();
      const chosen = this.active >= 0 ? this.found[this.active].feature : this.input.value;
      if (chosen.trim() !== "") this.#choose(chosen);
    } else if (event.key === "Escape" && !this.list.hidden) {
      event.preventDefault();
      this.#close();
    }
  }

  #mark(i) {
    this.active = i;
    this.list.querySelectorAll("[role=option]").forEach((option, j) => {
      option.setAttribute("aria-selected", String(j === i));
      if (j === i) option.scrollIntoView({ block: "nearest" });
    });
    if (i < 0) this.input.removeAttribute("aria-activedescendant");
    else this.input.setAttribute("aria-activedescendant", `${this.list.id}-${i}`);
  }

  #choose(chosen) {
    this.#close();
    this.input.value = this.keep ? chosen : "";
    this.take(chosen);
  }

  #close() {
    clearTimeout(this.timer);
    this.control?.abort();
    this.list.hidden = true;
    this.#mark(-1);
    this.input.setAttribute("aria-expanded", "false");
  }
}
