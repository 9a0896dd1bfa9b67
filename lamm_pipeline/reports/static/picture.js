// The picture of a frame with boxes and masks drawn over it, and small ones of the frames around it.

import { byId, element, get } from "./http.js";

const MASK_FRAMES = 12;
const MASKS_KEPT = 400;
const MOST_ROWS = 3;

/** Masks by frame, read a few frames ahead. */
export class Masks {
  constructor(model, arrived) {
    this.model = model;
    this.arrived = arrived;
    this.frames = new Map();
  }

  forget() {
    this.frames.clear();
  }

  of(frame) {
    return this.frames.get(frame) || null;
  }

  async want(frames) {
    const missing = [...new Set(frames)].filter((each) => !this.frames.has(each) && this.model.inFrame[each]?.length).slice(0, MASK_FRAMES);
    if (!missing.length) return;
    for (const each of missing) this.frames.set(each, {});
    try {
      const { masks } = await get(`/api/recordings/${encodeURIComponent(this.model.recording)}/masks?frames=${missing.join(",")}`);
      for (const frame of missing) {
        const mine = this.model.inFrame[frame].map((place) => this.model.annotationIds[place]);
        this.frames.set(frame, Object.fromEntries(mine.filter((id) => masks[id]).map((id) => [id, masks[id]])));
      }
    } catch {
      for (const each of missing) this.frames.delete(each); // asked for again when the frame is shown again
      return;
    }
    for (const each of [...this.frames.keys()].slice(0, Math.max(0, this.frames.size - MASKS_KEPT))) this.frames.delete(each);
    this.arrived(missing);
  }
}

export function imageUrl(model, frame, small = false) {
  const base = `/recordings/${encodeURIComponent(model.recording)}/images/${model.versions.frame}/${model.frames.index[frame]}`;
  return small ? `${base}?small=1` : base;
}

/** Draw what is in a frame; `selected` is `{kind, place}`, `unit` how many pixels of the image a pixel of the screen is. */
export function draw(canvas, model, masks, frame, selected, show, unit) {
  const context = canvas.getContext("2d");
  context.setTransform(canvas.width / model.width, 0, 0, canvas.height / model.height, 0, 0);
  context.clearRect(0, 0, model.width, model.height);
  const mine = new Set(selected.kind !== "frame" ? model.annotationsOf(selected.kind, model.id(selected.kind, selected.place)) : []);
  const places = [...model.inFrame[frame]].sort((a, b) => mine.has(a) - mine.has(b));
  const runs = masks.of(frame) || {};
  for (const place of places) {
    const id = model.annotationIds[place];
    const color = model.color(model.classId("annotation", place));
    const out = model.state("annotation", place) === "out";
    const main = mine.has(place);
    const faint = selected.kind !== "frame" && !main;
    if (show.masks && runs[id] && !out) fillMask(context, runs[id], model.height, color, faint ? 0.16 : 0.4);
    if (show.boxes) strokeBox(context, model.box("annotation", place, frame), out ? "#9ca3af" : color, (main ? 3 : 1.5) * unit, out, faint ? 0.6 : 1, unit);
    if (show.boxes && show.labels && !faint) label(context, model, place, frame, out ? "#6b7280" : color, unit);
  }
  if (show.boxes && selected.kind === "sequence" && !places.some((each) => mine.has(each))) {
    const box = model.box("sequence", selected.place, frame);
    if (box) strokeBox(context, box, model.color(model.classId("sequence", selected.place)), 3 * unit, false, 1, unit);
  }
}

function fillMask(context, runs, height, color, opacity) {
  context.globalAlpha = opacity;
  context.fillStyle = color;
  let at = 0;
  runs.forEach((run, number) => {
    if (number % 2) {
      for (let from = at; from < at + run;) {
        const row = from % height;
        const long = Math.min(height - row, at + run - from);
        context.fillRect(Math.floor(from / height), row, 1.02, long);
        from += long;
      }
    }
    at += run;
  });
  context.globalAlpha = 1;
}

function strokeBox(context, [x1, y1, x2, y2], color, width, dashed, opacity, unit) {
  context.globalAlpha = opacity;
  context.setLineDash(dashed ? [6 * unit, 4 * unit] : []);
  context.lineWidth = width + 2 * unit;
  context.strokeStyle = "rgba(0, 0, 0, 0.45)";
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.lineWidth = width;
  context.strokeStyle = color;
  context.strokeRect(x1, y1, x2 - x1, y2 - y1);
  context.setLineDash([]);
  context.globalAlpha = 1;
}

function label(context, model, place, frame, color, unit) {
  const [x1, y1] = model.box("annotation", place, frame);
  const score = model.annotations.confidence[place];
  const text = `${model.className(model.classId("annotation", place))}${score === null ? "" : ` ${score.toFixed(2)}`}`;
  context.font = `600 ${12 * unit}px system-ui, sans-serif`;
  const width = context.measureText(text).width + 8 * unit;
  const height = 17 * unit;
  const top = y1 >= height ? y1 - height : y1;
  const left = Math.min(x1, model.width - width);
  context.fillStyle = color;
  context.fillRect(left, top, width, height);
  context.fillStyle = dark(color) ? "#fff" : "#111";
  context.fillText(text, left + 4 * unit, top + 12.5 * unit);
}

export function dark(color) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(color.slice(at, at + 2), 16));
  return 0.299 * r + 0.587 * g + 0.114 * b < 150;
}

/** The big picture. */
export class Picture {
  constructor(model, masks, { pick }) {
    this.model = model;
    this.masks = masks;
    this.show = { masks: true, boxes: true };
    this.zoomed = false;
    this.image = byId("image");
    this.overlay = byId("overlay");
    this.frame = byId("picture");
    this.frame.style.aspectRatio = `${model.width} / ${model.height}`;
    byId("stage").style.setProperty("--ratio", model.width / model.height);
    for (const outcome of ["load", "error"]) {
      this.image.addEventListener(outcome, () => {
        this.frame.classList.toggle("failed", outcome === "error");
        this.loaded = true;
        this.paint();
      });
    }
    new ResizeObserver(() => this.paint()).observe(this.frame);
    this.overlay.addEventListener("click", (event) => pick(this.hit(event)));
  }

  set(frame, selected) {
    if (frame !== this.at) {
      this.loaded = false; // boxes are not drawn over the picture of another frame
      this.image.src = imageUrl(this.model, frame);
    }
    this.image.alt = `Frame ${this.model.frames.index[frame]} with ${this.model.inFrame[frame].length} annotations`;
    this.at = frame;
    this.selected = selected;
    this.paint();
  }

  paint() {
    if (this.at === undefined || !this.frame.clientWidth) return;
    const { model } = this;
    const scale = this.place();
    const ratio = Math.min((window.devicePixelRatio || 1) * scale, (4096 / model.width) * (model.width / this.frame.clientWidth));
    const width = Math.round(this.frame.clientWidth * ratio);
    const height = Math.round((width * model.height) / model.width);
    if (this.overlay.width !== width || this.overlay.height !== height) Object.assign(this.overlay, { width, height });
    const show = this.loaded ? { ...this.show, labels: true } : {};
    draw(this.overlay, model, this.masks, this.at, this.selected, show, model.width / this.frame.clientWidth / scale);
  }

  /** Move the picture so that the selected box fills it when zoomed; returns how much larger everything is. */
  place() {
    const box = this.zoomed ? this.model.box(this.selected.kind, this.selected.place, this.at) : null;
    const inner = byId("zoomed");
    if (!box) {
      inner.style.transform = "none";
      return 1;
    }
    const [x1, y1, x2, y2] = box;
    const { width, height } = this.model;
    const scale = Math.max(1, Math.min(12, 0.5 * Math.min(width / (x2 - x1), height / (y2 - y1))));
    const shift = (from, to, side) => Math.min(0, Math.max(side - side * scale, side / 2 - ((from + to) / 2) * scale));
    inner.style.transform = `translate(${(shift(x1, x2, width) / width) * 100}%, ${(shift(y1, y2, height) / height) * 100}%) scale(${scale})`;
    return scale;
  }

  /** The smallest annotation below the pointer. */
  hit(event) {
    const area = this.overlay.getBoundingClientRect();
    const x = ((event.clientX - area.left) / area.width) * this.model.width;
    const y = ((event.clientY - area.top) / area.height) * this.model.height;
    const size = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
    const boxes = this.model.inFrame[this.at].map((place) => [place, this.model.box("annotation", place, this.at)]);
    const hit = boxes.filter(([, [x1, y1, x2, y2]]) => x >= x1 && x <= x2 && y >= y1 && y <= y2).sort((a, b) => size(a[1]) - size(b[1]));
    return hit.length ? hit[0][0] : null;
  }
}

/** Small pictures: of the frames of an object, else of the frames nearby. */
export class Strip {
  constructor(model, masks, picture, go) {
    this.model = model;
    this.masks = masks;
    this.picture = picture;
    this.go = go;
    this.thumbs = new Map();
  }

  set(frame, selected) {
    const seen = selected.kind === "sequence" ? this.model.framesOf(selected.kind, selected.place) : this.model.frameIds.map((_, place) => place);
    const at = seen.includes(frame) ? seen.indexOf(frame) : seen.findIndex((each) => each >= frame);
    const count = this.room();
    const first = Math.max(0, Math.min((at < 0 ? seen.length : at) - (count >> 1), seen.length - count));
    const frames = seen.slice(first, first + count);
    const before = this.thumbs;
    this.thumbs = new Map(frames.map((each) => [each, before.get(each) || this.make(each)]));
    byId("strip").replaceChildren(...this.thumbs.values());
    this.selected = selected;
    for (const [each, thumb] of this.thumbs) {
      thumb.classList.toggle("current", each === frame);
      thumb.setAttribute("aria-current", each === frame ? "true" : "false");
      thumb.dataset.state = this.model.state("frame", each);
    }
    this.paint(frames);
    this.masks.want([frame, ...frames, ...frames.map((each) => each + count)]);
  }

  /** How many small pictures there is room for below the big one: whole rows. */
  room() {
    const strip = byId("strip");
    const columns = getComputedStyle(strip).gridTemplateColumns.split(" ").length;
    const stage = byId("stage");
    const taken = [...stage.children].filter((each) => each !== strip).reduce((sum, each) => sum + each.offsetHeight + 8, 0);
    const row = (strip.clientWidth / columns) * (this.model.height / this.model.width) + 28;
    return columns * Math.max(1, Math.min(MOST_ROWS, Math.floor((stage.clientHeight - taken) / row)));
  }

  make(frame) {
    const image = element("img", { src: imageUrl(this.model, frame, true), alt: "", width: "120", onload: () => image.parentElement.classList.add("loaded") });
    const index = String(this.model.frames.index[frame]);
    return element("button", { type: "button", class: "thumb", "aria-label": `Frame ${index}`, tabindex: "-1", onclick: () => this.go(frame) },
      element("span", { class: "framed" }, image, element("canvas", {})), element("span", { class: "index" }, index));
  }

  paint(frames) {
    for (const frame of frames) {
      const canvas = this.thumbs.get(frame)?.querySelector("canvas");
      if (!canvas) continue;
      Object.assign(canvas, { width: 240, height: Math.round((240 * this.model.height) / this.model.width) });
      draw(canvas, this.model, this.masks, frame, this.selected, this.picture.show, this.model.width / 160);
    }
  }
}
