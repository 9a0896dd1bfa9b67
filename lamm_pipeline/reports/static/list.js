// The list of what is to be reviewed: only the rows in view are in the page, whatever its length.

import { byId, element } from "./http.js";

const ROW = 40;
const MARK = { open: "", stays: "✓", out: "✕" };
const SAID = { open: "not reviewed", stays: "kept", out: "left out" };

export class List {
  constructor(model, go) {
    this.model = model;
    this.go = go;
    this.view = byId("list");
    this.space = byId("list-space");
    this.items = [];
    this.view.addEventListener("scroll", () => requestAnimationFrame(() => this.paint()));
    new ResizeObserver(() => this.paint()).observe(this.view);
  }

  fill(kind, items) {
    this.kind = kind;
    this.items = items;
    this.space.style.height = `${items.length * ROW}px`;
    const all = this.model.places(kind).length;
    byId("list-count").textContent = items.length === all ? `${all} in all` : `${items.length} of ${all}`;
    this.paint();
  }

  select(place) {
    this.selected = place;
    const at = this.items.indexOf(place);
    if (at >= 0) {
      const top = at * ROW;
      if (top < this.view.scrollTop || top + ROW > this.view.scrollTop + this.view.clientHeight) {
        this.view.scrollTop = top - this.view.clientHeight / 2 + ROW / 2;
      }
    }
    this.paint();
  }

  paint() {
    const first = Math.max(0, Math.floor(this.view.scrollTop / ROW) - 3);
    const last = Math.min(this.items.length, Math.ceil((this.view.scrollTop + this.view.clientHeight) / ROW) + 3);
    this.space.replaceChildren(...this.items.slice(first, last).map((place, number) => this.row(place, first + number)));
    this.view.setAttribute("aria-activedescendant", this.selected === undefined ? "" : `item-${this.selected}`);
  }

  row(place, at) {
    const { model, kind } = this;
    const state = model.state(kind, place);
    const classId = model.classId(kind, place);
    const score = kind === "frame" ? null : model.confidence(kind, place);
    const [main, more] = this.texts(place);
    return element("div", {
      id: `item-${place}`, role: "option", class: "row", "data-state": state, "aria-selected": place === this.selected ? "true" : "false",
      "aria-posinset": at + 1, "aria-setsize": this.items.length, style: { top: `${at * ROW}px` }, onclick: () => this.go(place),
    },
    element("span", { class: "swatch", style: { background: kind === "frame" ? "transparent" : model.color(classId) } }),
    element("span", { class: "name" }, main, element("span", { class: "quiet" }, more)),
    element("span", { class: "score" }, score === null ? "" : score.toFixed(2)),
    element("span", { class: "mark", title: SAID[state] }, MARK[state], element("span", { class: "hidden" }, SAID[state])));
  }

  texts(place) {
    const { model, kind } = this;
    if (kind === "frame") {
      const count = model.inFrame[place].length;
      const empty = model.verdict(kind, model.frameIds[place]).action === "reviewed_empty";
      return [`Frame ${model.frames.index[place]}`, empty ? "empty" : model.unlabelled.has(place) ? "not looked at" : `${count} annotation${count === 1 ? "" : "s"}`];
    }
    const name = model.className(model.classId(kind, place));
    if (kind === "annotation") return [name, `${model.frames.index[model.annotations.frame[place]]}:${model.annotations.number[place]}`];
    const { id, frames } = model.sequences[place];
    return [name, `${id.slice(id.lastIndexOf(":") + 1)}, ${frames.length} frame${frames.length === 1 ? "" : "s"}`];
  }
}
