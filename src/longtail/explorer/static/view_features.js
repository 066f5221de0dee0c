// Features: neighbours of one, in contexts.

import { AnswerPlace } from "./answer.js";
import { get, post } from "./api.js";
import { Chips } from "./chips.js";
import { el, freshId, replace } from "./dom.js";
import { cut, decimal, inSentence, plural, probability } from "./format.js";
import { name, nameLink, unknownNote } from "./name.js";
import { Picker } from "./picker.js";
import { Picture } from "./picture.js";

export const title = "Features";
export const about =
  "Type a feature to see which features the model treats like it. Add others as context and watch the neighbours change.";

const SHOWN = 12;

export function build({ model, go }) {
  return new Features(model, go);
}

class Features {
  constructor(model, go) {
    Object.assign(this, { model, go, asked: null, panels: [] });
    this.picker = new Picker({ label: "Feature", keep: true, take: (feature) => this.#change({ feature }) });
    const chips = (label, key) =>
      new Chips({ label, hint: "Add a feature", change: (bag) => this.#change({ [key]: [...bag.keys()] }) });
    this.contexts = { a: chips("Context", "a"), b: chips("Second context", "b") };
    this.compare = el("input", { type: "checkbox", on: { change: () => this.#change({ compare: this.compare.checked }) } });
    this.start = el("div", { class: "start" });
    this.answer = new AnswerPlace();
    this.root = el(
      "div",
      {},
      el(
        "div",
        { class: "form" },
        this.picker.root,
        this.contexts.a.root,
        this.contexts.b.root,
        el("label", { class: "check" }, this.compare, "Compare two contexts side by side"),
      ),
      this.start,
      this.answer.root,
    );
  }

  update(query) {
    const state = {
      feature: query.get("feature") ?? "",
      a: [...new Set(query.getAll("a"))],
      b: [...new Set(query.getAll("b"))],
      compare: query.has("compare"),
    };
    this.state = state;
    this.picker.value = state.feature;
    this.compare.checked = state.compare;
    for (const key of ["a", "b"]) this.contexts[key].set(state[key].map((feature) => [feature, 1]));
    this.contexts.b.root.hidden = !state.compare;
    this.#ask();
  }

  leave() {
    this.answer.stop();
  }

  #change(part) {
    this.go({ ...this.state, ...part });
  }

  #ask() {
    const { feature, a, b, compare } = this.state;
    const key = JSON.stringify(this.state);
    if (key === this.asked && !this.answer.unanswered) return;
    this.asked = key;
    if (feature === "") {
      this.panels = [];
      this.answer.clear();
      this.#suggest();
      return;
    }
    replace(this.start);
    // Without a context too: what leaves the neighbourhood is then seen to go.
    const contexts = compare ? [[], a, b] : a.length > 0 ? [[], a] : [[]];
    this.answer.run(
      "Looking for neighbours",
      (how) => post("/api/neighbors", { feature, contexts, k: SHOWN }, how),
      (found, place) => this.#show(found, place),
    );
  }

  async #suggest() {
    let some;
    try {
      some = (await get("/api/features", { limit: 8 })).features;
    } catch {
      return; // typing tells what is wrong
    }
    if (this.state.feature !== "") return;
    replace(this.start, el("p", {}, "For a start, some of the most frequent features:"), el("ul", { class: "names" }, some.map((f) => el("li", {}, nameLink(f, 30)))));
  }

  #show(found, place) {
    const [overall, ...given] = found.contexts;
    const contexts = given.length > 0 ? given : [overall];
    // Panels are kept, so that points move in them.
    if (this.panels.length !== contexts.length || !place.contains(this.panels[0]?.root ?? null)) {
      this.panels = contexts.map((_, i) => new Panel((feature) => this.#change({ feature }), (feature) => this.#toContext(feature, i)));
      replace(place, el("div", { class: contexts.length > 1 ? "panels two" : "panels" }, this.panels.map((p) => p.root)));
    }
    const shared = contexts.length > 1 ? common(contexts) : new Set();
    this.panels.forEach((panel, i) => {
      const other = contexts.length > 1 ? contexts[1 - i] : null;
      panel.update(found.feature, contexts[i], { overall, other, shared, letter: other === null ? "" : "AB"[i] });
    });
    const n = contexts[0].neighbors.length;
    return `${plural(n, "neighbour")} of ${inSentence(found.feature.feature)}.`;
  }

  #toContext(feature, i) {
    const key = i === 1 ? "b" : "a";
    this.#change({ [key]: [...this.state[key], feature] });
  }
}

/** Names that are neighbours in each of the contexts. */
function common(contexts) {
  const [first, ...others] = contexts.map((c) => new Set(c.neighbors.map((n) => n.feature)));
  return new Set([...first].filter((feature) => others.every((o) => o.has(feature))));
}

/** The neighbours in one context: a picture and a list. */
class Panel {
  constructor(pick, toContext) {
    this.toContext = toContext;
    this.id = freshId("panel");
    this.heading = el("h2", { id: this.id });
    this.notes = el("div");
    this.picture = new Picture(pick);
    this.caption = el("figcaption");
    this.list = el("div", { class: "scroll" });
    this.root = el(
      "section",
      { class: "panel", "aria-labelledby": this.id },
      this.heading,
      this.notes,
      el("div", { class: "beside" }, el("figure", {}, this.picture.root, this.caption), this.list),
    );
  }

  update(feature, context, { overall, other, shared, letter }) {
    const inContext = context.context.length > 0;
    const prefix = letter === "" ? [] : [`${letter}: `];
    replace(this.heading, ...prefix, el("span", { class: "quiet" }, "near "), name(feature, 30), inContext ? [el("span", { class: "quiet" }, " with "), joined(context.context)] : el("span", { class: "quiet" }, ", without context"));
    replace(this.notes, unknownNote(context.unknown, (_, suggested) => this.toContext(suggested)));
    if (context.neighbors.length === 0) {
      replace(this.list, el("p", {}, "The model has no other feature to compare with."));
    } else {
      replace(this.list, this.#table(context, overall, inContext, shared));
    }
    // Of two contexts, each shows where the other's neighbours are; of one, those it has displaced.
    const elsewhere = new Set((other ?? overall).neighbors.map((n) => n.feature));
    const gone = context.others.filter((n) => elsewhere.has(n.feature));
    const points = [
      ...context.neighbors.map((n) => ({ ...n, kind: shared.has(n.feature) ? "shared" : "near" })),
      ...gone.map((n) => ({ ...n, kind: "gone" })),
    ];
    const nearest = context.neighbors.slice(0, 3).map((n) => inSentence(n.feature));
    this.picture.update(feature, points, `Picture of the neighbours; the nearest are ${nearest.join(", ")}. The table has them all.`);
    replace(
      this.caption,
      el("span", { class: "key centre" }, "the feature"),
      el("span", { class: "key near" }, "neighbours"),
      shared.size > 0 && el("span", { class: "key shared" }, "in both contexts"),
      gone.length > 0 && el("span", { class: "key gone" }, other === null ? "near only without context" : "near only in the other context"),
      el("span", {}, "Places are a flat view of many dimensions, so distances are rough."),
    );
  }

  #table(context, overall, inContext, shared) {
    const first = context.neighbors[0].similarity;
    const ranks = new Map(overall.neighbors.map((n, i) => [n.feature, i]));
    const rows = context.neighbors.map((n, i) => {
      const relative = first > 0 ? Math.max(0, n.similarity / first) : 0;
      const meter = el("span", { class: "bar" }, el("span"));
      meter.firstChild.style.width = `${100 * relative}%`;
      const row = el(
        "tr",
        { class: shared.has(n.feature) ? "shared" : null },
        el("td", { class: "number" }, String(i + 1)),
        el("td", { class: "named" }, nameLink(n, 32), inContext && moved(ranks.get(n.feature), i)),
        el("td", { class: "wide" }, meter),
        el("td", { class: "number" }, inContext ? probability(relative) : decimal(n.similarity)),
        el("td", {}, el("button", { type: "button", class: "small", title: "Add to the context", "aria-label": `Add ${inSentence(n.feature)} to the context`, on: { click: () => this.toContext(n.feature) } }, "+")),
      );
      row.addEventListener("pointerenter", () => this.picture.highlight(n.feature));
      row.addEventListener("pointerleave", () => this.picture.highlight(null));
      row.addEventListener("focusin", () => this.picture.highlight(n.feature));
      row.addEventListener("focusout", () => this.picture.highlight(null));
      return row;
    });
    const measure = inContext ? "Similarity, % of the nearest" : "Similarity (cosine, at most 1)";
    return el(
      "table",
      {},
      el("thead", {}, el("tr", {}, el("th", { class: "number", scope: "col" }, "#"), el("th", { scope: "col" }, "Neighbour"), el("th", { scope: "col", colspan: "2" }, measure), el("td"))),
      el("tbody", {}, rows),
    );
  }
}

function joined(features) {
  return features.map((f, i) => [i > 0 ? ", " : "", el("bdi", {}, cut(f.feature, 30))]);
}

/** How a neighbour's rank differs from that without a context. */
function moved(before, now) {
  if (before === undefined) return el("span", { class: "moved new", title: "Not among the neighbours without context" }, "new");
  if (before === now) return null;
  const up = before > now;
  return el("span", { class: "moved", title: `Rank ${before + 1} without context` }, `${up ? "↑" : "↓"}${Math.abs(before - now)}`);
}
