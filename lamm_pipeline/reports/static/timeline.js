// All frames at one look: how much is in each, and how far it has been reviewed.

import { byId } from "./http.js";

export class Timeline {
  constructor(model, go) {
    this.model = model;
    this.go = go;
    this.canvas = byId("timeline");
    this.canvas.setAttribute("aria-valuemax", model.frameIds.length - 1);
    const seek = (event) => {
      const area = this.canvas.getBoundingClientRect();
      go(Math.max(0, Math.min(model.frameIds.length - 1, Math.floor(((event.clientX - area.left) / area.width) * model.frameIds.length))));
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      seek(event);
    });
    this.canvas.addEventListener("pointermove", (event) => event.buttons && seek(event));
    new ResizeObserver(() => this.paint()).observe(this.canvas);
  }

  set(frame, selected) {
    this.frame = frame;
    this.selected = selected;
    this.canvas.setAttribute("aria-valuenow", frame);
    this.canvas.setAttribute("aria-valuetext", `Frame ${this.model.frames.index[frame]}`);
    this.paint();
  }

  paint() {
    const { canvas, model } = this;
    if (!canvas.clientWidth || this.frame === undefined) return;
    const ratio = window.devicePixelRatio || 1;
    const width = Math.round(canvas.clientWidth * ratio);
    const height = Math.round(canvas.clientHeight * ratio);
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const style = getComputedStyle(document.documentElement);
    const color = Object.fromEntries(["open", "stays", "out", "unlabelled", "accent", "line"].map((name) => [name, style.getPropertyValue(`--${name}`)]));
    const count = model.frameIds.length;
    const columns = Math.min(count, Math.max(1, Math.floor(width / (2 * ratio))));
    const step = width / columns;
    const most = Math.max(1, ...model.inFrame.map((each) => each.length));
    const bars = height - 8 * ratio;
    for (let column = 0; column < columns; column++) {
      const frames = range(Math.floor((column * count) / columns), Math.max(Math.floor(((column + 1) * count) / columns), Math.floor((column * count) / columns) + 1));
      const states = { open: 0, stays: 0, out: 0 };
      let most_here = 0;
      for (const frame of frames) {
        for (const place of model.inFrame[frame]) states[model.state("annotation", place)]++;
        most_here = Math.max(most_here, model.inFrame[frame].length);
      }
      const total = states.open + states.stays + states.out;
      const tall = (most_here / most) * (bars - 4 * ratio);
      let top = bars;
      for (const name of ["out", "stays", "open"]) {
        const part = total ? (states[name] / total) * tall : 0;
        context.fillStyle = color[name];
        context.fillRect(column * step, top - part, Math.max(1, step - (step > 4 * ratio ? ratio : 0)), part);
        top -= part;
      }
      const whole = frames.map((frame) => (model.unlabelled.has(frame) ? "unlabelled" : model.state("frame", frame)));
      const base = whole.includes("unlabelled") ? "unlabelled" : whole.every((each) => each !== "open") ? (whole.includes("out") ? "out" : "stays") : "line";
      context.fillStyle = color[base];
      context.fillRect(column * step, bars + ratio, Math.max(1, step - (step > 4 * ratio ? ratio : 0)), 3 * ratio);
    }
    context.fillStyle = color.accent;
    if (this.selected?.kind === "sequence") {
      const frames = model.framesOf("sequence", this.selected.place);
      context.fillRect((frames[0] / count) * width, bars + 5 * ratio, Math.max(2 * ratio, ((frames.at(-1) + 1 - frames[0]) / count) * width), 3 * ratio);
    }
    const x = ((this.frame + 0.5) / count) * width;
    context.fillRect(x - ratio, 0, 2 * ratio, height);
    context.beginPath();
    context.moveTo(x - 5 * ratio, 0);
    context.lineTo(x + 5 * ratio, 0);
    context.lineTo(x, 6 * ratio);
    context.fill();
  }
}

function range(from, to) {
  return Array.from({ length: to - from }, (_, number) => from + number);
}
