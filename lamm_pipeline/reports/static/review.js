// The review page: keys and buttons become decisions, which are shown at once and sent one after the other.

import { askActor, askClass, askNote, askTypes, showHelp, showHistory, showLost } from "./dialogs.js";
import { byId, element, get, post } from "./http.js";
import { List } from "./list.js";
import { Model } from "./model.js";
import { imageUrl, Masks, Picture, Strip } from "./picture.js";
import { Timeline } from "./timeline.js";

const PULSE_MS = 20_000;
const LATE_MS = 10_000;
const LATE = "The server has not answered for 10 s. What is decided is not saved until it does; keep this page open.";
const recording = decodeURIComponent(location.pathname.split("/")[2]);
const api = `/api/recordings/${encodeURIComponent(recording)}`;
const NAMES = { sequence: "objects", annotation: "annotations", frame: "frames" };

let model, masks, picture, strip, timeline, list;
const at = { kind: "annotation", place: undefined, frame: 0 };
const where = {}; // the place in each list that one comes back to
const done = []; // batches that can be undone, oldest first
const undone = [];
const outbox = [];
let sending = false;
let actor = localStorage.getItem("lamm.actor");
let suggested = "";

// --- what can be done -------------------------------------------------------------------------------------------------------------------

const ACTIONS = [
  { key: "k", name: "Keep", does: () => decide([{ action: "keep" }]) },
  { key: "x", name: "Leave out", does: () => decide([{ action: "exclude" }]) },
  { key: "c", name: "Class", not: "frame", does: chooseClass },
  { key: "p", name: "Positive?", not: "frame", does: togglePositive },
  { key: "f", name: "False positive", not: "frame", does: chooseTypes },
  { key: "e", name: "Empty frame", does: () => decide([{ action: "reviewed_empty" }], "frame", at.frame) },
  { key: "n", name: "Note", does: writeNote },
  { key: "r", name: "Unreview", does: () => decide([{ action: "unreview" }], at.kind, at.place, false) },
  { key: "u", name: "Undo", does: undo },
  { key: "U", name: "Redo", does: redo },
];

const KEYS = {
  ArrowRight: () => step(1),
  ArrowDown: () => step(1),
  ArrowLeft: () => step(-1),
  ArrowUp: () => step(-1),
  PageDown: () => step(10),
  PageUp: () => step(-10),
  Home: () => select(at.kind, list.items[0]),
  End: () => select(at.kind, list.items.at(-1)),
  " ": nextOpen,
  ".": () => peek(1),
  ",": () => peek(-1),
  1: () => setMode("sequence"),
  2: () => setMode("annotation"),
  3: () => setMode("frame"),
  m: () => toggle("masks"),
  b: () => toggle("boxes"),
  z: zoom,
  h: history_,
  "/": () => byId("filter-state").focus(),
  "?": help,
  ...Object.fromEntries(ACTIONS.map((each) => [each.key, () => (each.not === at.kind ? tell(`${each.name} is not for frames.`) : each.does())])),
};

function help() {
  return showHelp([
    ["Go", [["→ ←", "next, previous"], ["Space", "next that is not reviewed"], [". ,", "next, previous frame; of an object, its frames"], ["PgDn PgUp", "ten on, ten back"], ["Home End", "first, last"], ["1 2 3", "objects, annotations, frames"], ["/", "filters"]]],
    ["Decide", [["k", "keep as it is"], ["x", "leave out"], ["c", "another class"], ["p", "positive or not"], ["f", "false positive: what it is instead"], ["e", "nothing is in this frame"], ["n", "note"], ["r", "as if nobody had looked"], ["u", "undo"], ["Shift u", "redo"]]],
    ["See", [["z", "closer, and back"], ["m", "masks on, off"], ["b", "boxes on, off"], ["h", "who decided what"], ["?", "these keys"]]],
  ]);
}

// --- deciding ---------------------------------------------------------------------------------------------------------------------------

async function decide(said, kind = at.kind, place = at.place, goOn = true) {
  if (place === undefined || !(await knownActor())) return;
  const subject = model.id(kind, place);
  const decisions = said.map((each) => ({ value: {}, note: "", ...each, kind, subject, version: model.versions[kind] }));
  for (const each of decisions) model.foresee(each);
  const batch = { ids: null, kind: at.kind, place: at.place, frame: at.frame };
  done.push(batch);
  undone.length = 0;
  send(async () => {
    const changed = await post(`${api}/decisions`, { actor, decisions, watermark: model.watermark });
    batch.ids = changed.ids;
    return changed;
  });
  tell(`${subject}: ${said.map((each) => each.action.replaceAll("_", " ")).join(", ")}`);
  if (goOn && kind === at.kind) step(1, true);
  else refresh();
}

async function chooseClass() {
  const { kind, place } = at;
  const classId = await askClass(model, model.classId(kind, place));
  if (classId !== null) decide([{ action: "set_class", value: { class_id: classId } }], kind, place);
}

function togglePositive() {
  const verdict = model.verdict(at.kind, model.id(at.kind, at.place));
  const now = verdict.is_positive ?? (at.kind === "sequence" ? model.sequences[at.place].is_positive : true);
  decide([{ action: "set_positive", value: { is_positive: !now } }]);
}

async function chooseTypes() {
  const { kind, place } = at;
  const verdict = model.verdict(kind, model.id(kind, place));
  const types = await askTypes(model, verdict.false_positive_types);
  if (types === null) return;
  const negative = types.length && verdict.is_positive !== false ? [{ action: "set_positive", value: { is_positive: false } }] : [];
  decide([...negative, { action: "set_false_positive_types", value: { types } }], kind, place);
}

async function writeNote() {
  const { kind, place } = at;
  const note = await askNote(model.verdict(kind, model.id(kind, place)).note);
  if (note !== null) decide([{ action: "note", note }], kind, place, false);
}

async function undo() {
  const batch = done.pop();
  if (!batch) return undoFromLog();
  undone.push(batch);
  revert(batch, "undone");
}

function redo() {
  const batch = undone.pop();
  if (!batch) return tell("There is nothing to do again.");
  done.push(batch);
  revert(batch, "done again");
}

/** Take the newest rows of a batch back, so that undoing twice is doing again. */
function revert(batch, word) {
  send(async () => {
    const changed = await post(`${api}/undo`, { actor, decisions: batch.ids, watermark: model.watermark });
    batch.ids = changed.ids;
    return changed;
  });
  setMode(batch.kind, batch.place, batch.frame);
  tell(`${model.id(batch.kind, batch.place)}: ${word}`);
}

/** After a reload: the newest decision of this person that is in force. */
async function undoFromLog() {
  if (!(await knownActor())) return;
  const { decisions } = await get(`${api}/history`);
  const mine = decisions.find((each) => each.actor === actor && each.state === "in force" && !each.action.startsWith("undo"));
  if (!mine) return tell("There is nothing of yours to undo.");
  undoOne(mine.id, mine.kind, mine.now || mine.subject);
}

async function undoOne(id, kind, subject) {
  if (!(await knownActor())) return;
  send(() => post(`${api}/undo`, { actor, decisions: [id], watermark: model.watermark }));
  const place = kind && kind !== "class" ? model.place(kind, subject) : undefined;
  if (place !== undefined) setMode(kind, place);
  tell(`Decision ${id} is undone.`);
}

function send(request) {
  outbox.push(request);
  if (!sending) drain();
}

async function drain() {
  sending = true;
  while (outbox.length) {
    try {
      const changed = await answered(outbox.shift());
      if (changed.outdated) warn(changed.outdated, true);
      else if (changed.others) model.takeState(await get(`${api}/state`));
      else if (outbox.length === 0) model.takeChanges(changed);
      else model.watermark = changed.watermark; // what later decisions do is shown already
    } catch (error) {
      outbox.length = done.length = undone.length = 0;
      warn(`Not taken: ${error.message}`);
      await reloadState();
    }
  }
  sending = false;
  refresh();
}

/** The answer to a request; while it does not come, a person is told. */
async function answered(request) {
  const late = setTimeout(() => warn(LATE), LATE_MS);
  try {
    return await request();
  } finally {
    clearTimeout(late);
    if (byId("banner-text").textContent === LATE) byId("banner").hidden = true;
  }
}

async function reloadState() {
  try {
    model.takeState(await get(`${api}/state`));
  } catch (error) {
    warn(error.message, true);
  }
  refresh();
}

async function knownActor() {
  if (!actor) await setActor();
  return Boolean(actor);
}

async function setActor() {
  const name = await askActor(actor || suggested);
  if (name) localStorage.setItem("lamm.actor", (actor = name));
  byId("actor-button").textContent = actor ? actor : "Who are you?";
}

// --- going about ------------------------------------------------------------------------------------------------------------------------

function step(by, quiet = false) {
  const now = list.items.indexOf(at.place);
  const next = now < 0 ? list.items.find((place) => place > at.place) ?? list.items[0] : list.items[Math.max(0, Math.min(list.items.length - 1, now + by))];
  if (next === at.place && !quiet) tell(by > 0 ? "This is the last one." : "This is the first one.");
  select(at.kind, next);
}

function nextOpen() {
  const from = list.items.indexOf(at.place) + 1;
  const around = [...list.items.slice(from), ...list.items.slice(0, from)];
  const next = around.find((place) => model.state(at.kind, place) === "open");
  if (next === undefined) tell(`All ${NAMES[at.kind]} in this list are reviewed.`);
  else select(at.kind, next);
}

/** Look at another frame without going on: of an object the next of its frames. */
function peek(by) {
  if (at.kind === "frame") return step(by);
  const frames = at.kind === "sequence" ? model.framesOf(at.kind, at.place) : model.frameIds.map((_, place) => place);
  const now = frames.indexOf(at.frame);
  return showFrame(frames[Math.max(0, Math.min(frames.length - 1, now < 0 ? 0 : now + by))]);
}

function showFrame(frame) {
  at.frame = frame;
  refresh();
}

function goToFrame(frame) {
  if (at.kind === "frame") return select("frame", frame);
  if (at.kind === "annotation" && model.inFrame[frame].length) {
    const inside = model.inFrame[frame].find((place) => list.items.includes(place));
    if (inside !== undefined) return select("annotation", inside);
  }
  return showFrame(frame);
}

function select(kind, place, frame) {
  if (place === undefined) {
    at.place = undefined;
    return refresh();
  }
  Object.assign(at, { kind, place });
  where[kind] = place;
  const frames = model.framesOf(kind, place);
  at.frame = frame ?? (frames.includes(at.frame) ? at.frame : kind === "sequence" ? frames[frames.length >> 1] : frames[0]);
  refresh();
  const next = list.items[list.items.indexOf(place) + 1];
  if (next !== undefined) {
    const ahead = model.framesOf(kind, next);
    new Image().src = imageUrl(model, kind === "sequence" ? ahead[ahead.length >> 1] : ahead[0]);
  }
}

function setMode(kind, place = where[kind], frame = undefined) {
  if (!model.places(kind).length) return tell(`There are no ${NAMES[kind]}.`);
  at.kind = kind;
  fillList();
  const near = list.items.find((each) => model.framesOf(kind, each).at(-1) >= at.frame);
  select(kind, place ?? near ?? list.items[0], frame);
}

function fillList() {
  const filter = {
    state: byId("filter-state").value, classId: byId("filter-class").value, order: byId("filter-order").value,
    from: Number(byId("score-from").value), to: Number(byId("score-to").value),
  };
  byId("score-from-text").textContent = filter.from.toFixed(2);
  byId("score-to-text").textContent = filter.to.toFixed(2);
  for (const each of document.querySelectorAll("[data-mode]")) {
    each.setAttribute("aria-selected", each.dataset.mode === at.kind ? "true" : "false");
    each.disabled = !model.places(each.dataset.mode).length;
  }
  for (const each of document.querySelectorAll("#filters .wide")) each.hidden = at.kind === "frame";
  list.fill(at.kind, model.chosen(at.kind, filter));
}

// --- what is seen -----------------------------------------------------------------------------------------------------------------------

let asked = false;

function refresh() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    paint();
  });
}

function paint() {
  const selected = { kind: at.place === undefined ? "frame" : at.kind, place: at.place === undefined ? at.frame : at.place };
  picture.set(at.frame, selected);
  strip.set(at.frame, selected);
  timeline.set(at.frame, selected);
  list.select(at.place);
  const { done: reviewed, total } = model.progress(at.kind);
  byId("progress-bar").max = total || 1;
  byId("progress-bar").value = reviewed;
  byId("progress-text").textContent = `${reviewed} of ${total} ${NAMES[at.kind]} reviewed`;
  byId("lost-button").hidden = !model.lost.length;
  byId("lost-button").textContent = `${model.lost.length} lost`;
  caption();
  facts();
  gifs();
  for (const button of document.querySelectorAll("#actions button")) button.disabled = at.place === undefined || button.dataset.not === at.kind;
  const address = at.place === undefined ? `#frame=${model.frames.index[at.frame]}` : `#${at.kind}=${model.id(at.kind, at.place).slice(recording.length + 1)}`;
  if (location.hash !== address) history.replaceState(null, "", location.pathname + address);
}

function caption() {
  const { frames } = model;
  const seconds = (frames.time_ms[at.frame] - frames.time_ms[0]) / 1000;
  const stamp = new Date(frames.time_ms[at.frame]).toISOString().replace("T", " ").replace("Z", "");
  const verdict = model.verdict("frame", model.frameIds[at.frame]);
  const state = verdict.action ? { keep: "kept", exclude: "left out", reviewed_empty: "reviewed: empty" }[verdict.action] : model.unlabelled.has(at.frame) ? "models have not looked" : "";
  byId("caption").replaceChildren(
    element("strong", {}, `Frame ${frames.index[at.frame]}`), element("span", { class: "quiet" }, ` ${at.frame + 1} of ${frames.index.length}, ${seconds.toFixed(2)} s, ${stamp} UTC`),
    state ? element("span", { class: "chip" }, state) : "");
}

function facts() {
  byId("facts").replaceChildren();
  if (at.place === undefined) return byId("headline").replaceChildren(element("p", { class: "quiet" }, "Nothing passes the filters."));
  const { kind, place } = at;
  const id = model.id(kind, place);
  const verdict = model.verdict(kind, id);
  const state = model.state(kind, place);
  const classId = model.classId(kind, place);
  const own = kind === "annotation" ? model.annotations : null;
  const original = own ? own.class_id[place] : kind === "sequence" ? model.sequences[place].class_id : null;
  const rows = [];
  const score = model.confidence(kind, place);
  if (kind !== "frame") rows.push(["Score", score === null ? "none" : `${score.toFixed(2)}${kind === "sequence" ? " at best" : ""}`]);
  if (own && own.distance_m[place] !== null) rows.push(["Distance", `${own.distance_m[place].toFixed(1)} m`]);
  const ids = own ? { Track: own.track_id[place], Masklet: own.masklet_id[place] } : kind === "sequence" ? { Track: model.sequences[place].track_id, Masklet: model.sequences[place].masklet_id } : {};
  for (const [name, value] of Object.entries(ids)) if (value !== null) rows.push([name, String(value)]);
  if (own && model.sequencesOf[place].length) rows.push(["Object", links("sequence", model.sequencesOf[place])]);
  if (kind === "sequence") {
    const { frames, annotations } = model.sequences[place];
    rows.push(["Frames", `${frames.length}, ${model.frames.index[frames[0]]} to ${model.frames.index[frames.at(-1)]}`]);
    if (annotations.length) rows.push(["Annotations", links("annotation", annotations.filter((each) => model.annotations.frame[each] === at.frame), String(annotations.length))]);
  }
  if (kind === "frame") rows.push(["Annotations", links("annotation", model.inFrame[place], String(model.inFrame[place].length))]);
  if (verdict.is_positive !== null) rows.push(["Positive", verdict.is_positive ? "yes" : "no"]);
  if (verdict.false_positive_types?.length) rows.push(["Is instead", verdict.false_positive_types.join(", ").replaceAll("_", " ")]);
  if (verdict.box_xyxy || verdict.corrected_mask) rows.push(["Corrected", [verdict.box_xyxy && "box", verdict.corrected_mask && "mask"].filter(Boolean).join(", ")]);
  if (verdict.note) rows.push(["Note", verdict.note]);
  if (verdict.by) rows.push(["Last by", `${verdict.by}, ${verdict.at.replace("T", " ").replace("Z", "")} UTC`]);
  const by = kind === "annotation" ? model.outcomes[place].excluded_by : null;
  const said = { open: "not reviewed", stays: verdict.action === "reviewed_empty" ? "empty" : "kept", out: by && by !== "annotation" ? `left out with its ${by}` : "left out" }[state];
  byId("headline").replaceChildren(
    element("div", { class: "main" },
      kind === "frame" ? element("strong", {}, `Frame ${model.frames.index[place]}`) : element("strong", {}, element("span", { class: "swatch", style: { background: model.color(classId) } }), model.className(classId)),
      element("span", { class: `chip ${state}` }, said)),
    element("p", { class: "id" }, id));
  if (original && original !== classId) rows.unshift(["Models said", model.className(original)]);
  return byId("facts").append(element("dl", {}, ...rows.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, ...[value].flat())])));
}

function links(kind, places, count = "") {
  const shown = places.slice(0, 8).map((place) => element("a", { href: `#${kind}=${model.id(kind, place).slice(recording.length + 1)}` }, model.id(kind, place).slice(recording.length + 1)));
  const parts = shown.flatMap((each, number) => (number ? [", ", each] : [each]));
  return [...(count ? [count, parts.length ? ": " : ""] : []), ...parts, places.length > 8 ? ", ..." : ""];
}

let gifsOf;

function gifs() {
  const box = byId("gifs");
  const place = at.kind === "sequence" ? at.place : at.kind === "annotation" && at.place !== undefined ? model.sequencesOf[at.place][0] : undefined;
  const found = place === undefined ? undefined : model.sequences[place];
  if (found?.id === gifsOf) return;
  gifsOf = found?.id;
  const kinds = Object.entries(found?.gifs || {}).sort();
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const name = found ? found.id.slice(recording.length + 1) : "";
  box.replaceChildren(...(kinds.length ? [element("details", { open: !calm }, element("summary", {}, `${name} moving`),
    ...kinds.map(([kind, url]) => element("img", { src: url, alt: kind === "crop" ? `${name} close up, moving` : `${name} in the whole picture, moving`, class: kind })))] : []),
  found?.without_gifs ? element("p", { class: "quiet" }, `No GIF: ${found.without_gifs}`) : "");
}

function toggle(what) {
  picture.show[what] = !picture.show[what];
  tell(`${what} ${picture.show[what] ? "on" : "off"}`);
  refresh();
}

function zoom() {
  picture.zoomed = !picture.zoomed;
  tell(picture.zoomed ? "closer" : "whole picture");
  refresh();
}

function history_() {
  return showHistory(recording, model.id(at.place === undefined ? "frame" : at.kind, at.place ?? at.frame), (id) => undoOne(id)).catch((error) => warn(error.message));
}

function tell(text) {
  byId("live").textContent = text;
}

function warn(text, reload = false) {
  byId("banner-text").textContent = text;
  byId("banner-reload").hidden = !reload;
  byId("banner").hidden = false;
}

// --- beginning --------------------------------------------------------------------------------------------------------------------------

function followAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  for (const [name, value] of new URLSearchParams(location.search)) if (!given.has(name)) given.set(name, value);
  for (const kind of ["annotation", "sequence", "frame"]) {
    if (!given.has(kind)) continue;
    const id = given.get(kind).replace(`${recording}:`, "").replace(/^\d+/, (index) => index.padStart(6, "0"));
    const place = model.place(kind, `${recording}:${id}`);
    if (place === undefined) warn(`There is no ${kind} ${given.get(kind)} in the present data.`);
    else if (at.kind !== kind || at.place !== place) {
      setMode(kind, place, kind === "frame" ? place : undefined);
      return true;
    } else return true;
  }
  return false;
}

async function pulse() {
  if (document.hidden || sending) return;
  const now = await get(`${api}/pulse`).catch(() => null);
  if (!now) return;
  if (JSON.stringify(now.versions) !== JSON.stringify(model.versions)) warn("The data have been computed again. Reload to see the present ones; decisions go over to what overlaps.", true);
  else if (now.watermark !== model.watermark && !sending) await reloadState();
}

async function begin() {
  byId("title").textContent = recording;
  byId("clusters-link").href = `/recordings/${encodeURIComponent(recording)}/clusters`;
  document.title = `${recording} - review`;
  let data, state;
  try {
    [data, state] = await Promise.all([get(`${api}/data`), get(`${api}/state`)]);
  } catch (error) {
    document.querySelector("main").hidden = true;
    return warn(error.message, true);
  }
  model = new Model(data);
  model.takeState(state);
  suggested = state.actor;
  if (!model.frameIds.length) return warn("There are no frames with images in this recording.");
  masks = new Masks(model, () => {
    picture.paint();
    strip.paint([...strip.thumbs.keys()]);
  });
  picture = new Picture(model, masks, { pick });
  strip = new Strip(model, masks, picture, showFrame);
  timeline = new Timeline(model, goToFrame);
  list = new List(model, (place) => select(at.kind, place));
  byId("filter-class").append(element("option", { value: "" }, "all"), ...[...new Set(model.outcomes.map((each) => each.class_id))].sort().map((each) => element("option", { value: each }, model.className(each))), element("option", { value: "-none-" }, "frames without any"));
  byId("status").append(...model.statuses.map((each) => element("option", { value: each, selected: each === state.labelling.status }, each.replace("_", " "))));
  byId("actions").append(...ACTIONS.map((each) => element("button", { type: "button", "data-not": each.not, "data-action": each.name, onclick: each.does }, each.name, " ", element("kbd", {}, each.key === "U" ? "⇧U" : each.key.toUpperCase()))));
  for (const note of model.notes) byId("notes").append(element("p", { class: "quiet" }, note));
  listen();
  if (!followAddress()) setMode(["sequence", "annotation", "frame"].find((kind) => model.places(kind).length));
  setInterval(pulse, PULSE_MS);
  document.body.dataset.ready = "true";
  byId("actor-button").textContent = actor || "Who are you?";
  if (!actor) setActor();
  return undefined;
}

function pick(place) {
  if (place === null || at.kind === "frame") return;
  if (at.kind === "sequence" && model.sequencesOf[place].length) select("sequence", model.sequencesOf[place][0], at.frame);
  else if (at.kind === "annotation") select("annotation", place);
}

function listen() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("dialog").open) return;
    const target = byId("dialog").contains(event.target) ? document.body : event.target; // a closed dialog keeps the focus for a moment
    if (target.matches("input, textarea, select") && event.key !== "Escape") return;
    if (event.key === "Escape") return target.blur();
    if (event.key === " " && target.matches("button, a, summary")) return;
    if (target.matches("[role=slider]") && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
      event.preventDefault();
      goToFrame(Math.max(0, Math.min(model.frameIds.length - 1, at.frame + (event.key === "ArrowRight" ? 1 : -1))));
      return;
    }
    const does = KEYS[event.key];
    if (!does) return;
    event.preventDefault();
    does();
  });
  for (const each of document.querySelectorAll("[data-mode]")) each.addEventListener("click", () => setMode(each.dataset.mode));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("filters").addEventListener("input", () => {
    fillList();
    if (!list.items.includes(at.place)) select(at.kind, list.items[0]);
    else refresh();
  });
  byId("status").addEventListener("change", async () => {
    if (!(await knownActor())) return;
    try {
      await post(`${api}/labelling`, { actor, status: byId("status").value });
      tell(`Status: ${byId("status").value}`);
    } catch (error) {
      warn(error.message);
    }
    byId("status").blur();
  });
  byId("help-button").onclick = help;
  byId("history-button").onclick = history_;
  byId("actor-button").onclick = setActor;
  byId("lost-button").onclick = () => showLost(model);
  byId("banner-close").onclick = () => { byId("banner").hidden = true; };
  byId("banner-reload").onclick = () => location.reload();
  window.addEventListener("hashchange", followAddress);
  window.addEventListener("beforeunload", (event) => { if (sending) event.preventDefault(); });
}

begin();
