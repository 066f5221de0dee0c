// Names of features on the page.

import { el } from "./dom.js";
import { count, cut } from "./format.js";
import { address } from "./address.js";

const TITLE = 500;

/** A feature's name with what it means; names that are too long are cut, and say so. */
export function name(feature, longest = 60) {
  const text = feature.feature;
  const shown = cut(text, longest);
  const told = feature.description && feature.description !== text ? feature.description : null;
  return [
    el("bdi", { class: "name", title: text === shown ? null : cut(text, TITLE) }, shown),
    text.length > 200 && el("span", { class: "cut" }, ` (${count(text.length)} characters)`),
    told && el("bdi", { class: "told", title: told.length > 60 ? cut(told, TITLE) : null }, cut(told)),
  ];
}

/** The same, leading to the feature's neighbours. */
export function nameLink(feature, longest) {
  return el("a", { class: "to", href: address("features", { feature: feature.feature }) }, name(feature, longest));
}

/** Names in a row. */
export function nameList(features, longest = 30) {
  return el("ul", { class: "names" }, features.map((f) => el("li", {}, nameLink(f, longest), f.count > 1 && el("span", { class: "times" }, ` ×${count(f.count)}`))));
}

/** What the model did not know, with names close to it that can be taken instead. */
export function unknownNote(unknown, take) {
  if (unknown.length === 0) return null;
  const most = 8;
  return el(
    "div",
    { class: "message note" },
    el("p", {}, "The model does not know these; they were left out:"),
    el(
      "ul",
      { class: "names" },
      unknown.slice(0, most).map((u) =>
        el(
          "li",
          {},
          name(u, 30),
          u.suggestions.slice(0, 2).map((s) => [" ", el("button", { class: "small", type: "button", on: { click: () => take(u.feature, s) } }, "use ", el("bdi", {}, cut(s, 30)))]),
        ),
      ),
      unknown.length > most && el("li", {}, `and ${unknown.length - most} more`),
    ),
  );
}

/** What rows of a request are taken to have, where the model needs an exposure of each. */
export const exposureNote = (model) =>
  model.typical_exposure === null
    ? null
    : el("p", { class: "quiet" }, `The row is taken to have an exposure of ${Number(model.typical_exposure.toPrecision(4))}, the median of the training rows.`);
