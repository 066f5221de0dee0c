// Start: what the model is, the list of views, and the view that the address asks for.

import { address, read } from "./address.js";
import { get } from "./api.js";
import { el, replace } from "./dom.js";
import { count, cut, plural } from "./format.js";
import * as directions from "./view_directions.js";
import * as features from "./view_features.js";
import * as recommend from "./view_recommend.js";
import * as rows from "./view_rows.js";
import * as spectrum from "./view_spectrum.js";

const VIEWS = { features, rows, directions, spectrum, recommend };
const POLL = 1000; // milliseconds between looks at rows being placed

const main = document.getElementById("main");
const links = new Map();
const shown = { name: null, view: null, heading: null };
let context = null;

/** Show another state, as a new step of the history or in place of the present one. */
function go(view, parameters, { replaced = false } = {}) {
  const to = address(view, parameters);
  if (to !== location.hash) history[replaced ? "replaceState" : "pushState"](null, "", to);
  show();
}

function show() {
  const { view: asked, query } = read();
  const name = Object.hasOwn(VIEWS, asked) ? asked : "features";
  const first = shown.name === null;
  if (name !== shown.name) {
    shown.view?.leave?.();
    mount(name);
    if (!first) shown.heading.focus();
  }
  links.get(name).setAttribute("href", location.hash || address(name)); // where one comes back to
  shown.view.update(query);
}

function mount(name) {
  const { title, about, build } = VIEWS[name];
  shown.name = name;
  shown.heading = el("h1", { tabindex: "-1" }, title);
  shown.view = build({ ...context, go: (parameters, how) => go(name, parameters, how) });
  replace(main, shown.heading, el("p", { class: "about" }, about), shown.view.root);
  document.title = `${title} · longtail explorer`;
  for (const [other, link] of links) {
    if (other === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  links.get(name).scrollIntoView({ block: "nearest", inline: "nearest" });
}

function describe(model) {
  replace(
    document.getElementById("model"),
    el("bdi", { class: "name" }, cut(model.name)),
    `: ${plural(model.features, "feature")}, ${plural(model.components, "latent dimension")}, `,
    `fitted to ${plural(model.train_rows, "row")}`,
  );
}

/** Tell how many rows are placed until all are; then let the view look again. */
async function follow() {
  const note = document.getElementById("placing");
  while (context.model.rows !== null && !context.model.rows.ready) {
    const { done, total } = context.model.rows;
    note.hidden = false;
    note.textContent = `Placing the rows in latent space: ${count(done)} of ${count(total)}. Nearest rows come after that.`;
    await new Promise((then) => setTimeout(then, POLL));
    try {
      context.model.rows = (await get("/api/model")).rows;
    } catch {
      break; // the next question says that the server is gone
    }
    if (context.model.rows?.ready) shown.view.rowsReady?.();
  }
  note.hidden = true;
}

async function start() {
  replace(main, el("p", { class: "about" }, "Loading the model…"));
  let model;
  try {
    model = await get("/api/model");
  } catch (error) {
    const again = el("button", { type: "button", on: { click: start } }, "Try again");
    replace(main, el("div", { class: "message fault", role: "alert" }, el("p", {}, error.message), again));
    return;
  }
  context = { model };
  describe(model);
  const list = document.getElementById("views");
  replace(list);
  for (const [name, { title }] of Object.entries(VIEWS)) {
    links.set(name, el("a", { href: address(name) }, title));
    list.append(el("li", {}, links.get(name)));
  }
  addEventListener("popstate", show);
  show();
  follow();
}

// Its address would otherwise be taken for a view's.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start();
