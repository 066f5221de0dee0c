// A place on the page for an answer: progress while it is awaited, what went wrong, and the answer.

import { Refusal } from "./api.js";
import { announce, append, el, replace } from "./dom.js";

const PATIENCE = 300; // milliseconds before progress is shown

export class AnswerPlace {
  constructor() {
    this.progress = el("div", { class: "progress", hidden: true });
    this.problem = el("div", { class: "problem" });
    this.content = el("div", { class: "content" });
    this.root = el("section", { class: "answer", "aria-label": "Answer" }, this.progress, this.problem, this.content);
    this.running = null;
    this.unanswered = false; // whether the last question was given up, or failed
  }

  /** Ask with work({ signal, waiting }), then show its answer; a later question replaces this one. */
  async run(label, work, show) {
    this.stop();
    const running = { control: new AbortController(), started: performance.now(), busy: false };
    this.running = running;
    this.unanswered = false;
    replace(this.problem);
    this.root.setAttribute("aria-busy", "true");
    running.timer = setInterval(() => this.#tick(label, running), 100);
    const how = { signal: running.control.signal, waiting: () => (running.busy = true) };
    try {
      const found = await work(how);
      if (this.running !== running) return;
      this.#finish();
      const told = show(found, this.content);
      if (told) announce(told);
    } catch (error) {
      if (this.running !== running || error.name === "AbortError") return;
      this.#finish();
      if (!(error instanceof Refusal)) throw error;
      this.unanswered = true;
      if (!error.gone) replace(this.content);
      this.#fault(error, () => this.run(label, work, show));
    }
  }

  /** Give up what is being asked. */
  stop() {
    if (this.running === null) return;
    this.running.control.abort();
    this.#finish();
  }

  /** Nothing asked, nothing shown but this. */
  clear(...instead) {
    this.stop();
    replace(this.problem);
    replace(this.content, ...instead);
  }

  #finish() {
    clearInterval(this.running.timer);
    this.running = null;
    this.progress.hidden = true;
    this.root.removeAttribute("aria-busy");
  }

  #tick(label, running) {
    const past = performance.now() - running.started;
    if (past < PATIENCE || this.running !== running) return;
    if (this.progress.hidden) {
      this.words = el("span");
      const stop = () => {
        this.stop();
        this.unanswered = true;
        announce("Stopped.");
      };
      replace(this.progress, el("span", { class: "turning", "aria-hidden": "true" }), this.words, el("button", { type: "button", class: "small", on: { click: stop } }, "Stop"));
      this.progress.hidden = false;
      announce(`${label}…`);
    }
    const more = running.busy ? " The server is busy; asking again." : "";
    this.words.textContent = `${label}… ${(past / 1000).toFixed(1)} s.${more}`;
  }

  #fault(error, again) {
    const box = el("div", { class: "message fault", role: "alert" });
    const message = error.message.replace(" GET /api/features?prefix= finds features.", "");
    append(box, [el("p", { dir: "auto" }, message)]);
    if (error.faults.length > 1) {
      append(box, [el("ul", {}, error.faults.map((f) => el("li", {}, `${f.where}: ${f.message}`)))]);
    }
    if (error.gone || error.status >= 500) append(box, [el("button", { type: "button", on: { click: again } }, "Try again")]);
    replace(this.problem, box);
  }
}
