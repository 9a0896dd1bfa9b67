// Hotspots: the scenes that models are least sure of, tags that differ, what to curate next, and the way to a dataset of hard cases.

import { askActor } from "./dialogs.js";
import { byId, element, get, post } from "./http.js";
import { chips, count } from "./scene_words.js";

const SVG = "http://www.w3.org/2000/svg";
const FIELDS = ["top", "top_per_recording", "above", "min_gap_frames"];
const WIDTH = 1000;

const address = new URLSearchParams(location.search);
let offset = 0;
let asked = 0;
let looked = 0;
let hard = null;

const score = (value) => (value === 0 ? "0" : Number(value.toPrecision(3)).toString());
const model = () => byId("model").value;
const tag = () => byId("tag").value;

async function show() {
  const mine = ++asked;
  let found;
  try {
    found = await get(`/api/hotspots?${new URLSearchParams({ model: address.get("model") || "", tag: address.get("tag") || "", offset })}`);
  } catch (error) {
    if (mine === asked) byId("message").textContent = error.message;
    return;
  }
  if (mine !== asked) return;
  byId("message").textContent = found.published ? "" : "There are no hotspots yet. Materialize the asset uncertainty_hotspots in Dagster, or run lamm hotspots --refresh.";
  byId("shown").hidden = !found.published;
  if (!found.published) return;
  choices("model", "All models", found.models);
  choices("tag", "All tags", found.tags);
  byId("counts").textContent = `${count(found.counts.frames)} scored frames of ${count(found.counts.scenes)} ${found.counts.scenes === 1 ? "scene" : "scenes"}`;
  insights(found);
  ranking(found);
  byId("views").replaceChildren(...found.views.map(view));
  if (!found.views.length) byId("views").replaceChildren(nothing("No scene has uncertainty yet: lamm evaluation add takes in what a model predicts."));
  byId("proposals").replaceChildren(...found.proposals.map(proposal));
  if (!found.proposals.length) byId("proposals").replaceChildren(nothing("Nothing to propose."));
  leftOut(found);
  kinds(found);
  dataset();
}

const nothing = (text) => element("p", { class: "quiet" }, text);

function choices(id, all, names) {
  byId(id).replaceChildren(element("option", { value: "" }, all), ...names.map((each) => element("option", { value: each }, each)));
  byId(id).value = address.get(id) || "";
  byId(id).disabled = !names.length;
}

function choose(id, value) {
  if (value) address.set(id, value); else address.delete(id);
  history.replaceState(null, "", `/hotspots${address.size ? `?${address}` : ""}`);
  offset = 0;
  return show();
}

function insights({ insights: found, counts }) {
  const none = counts.comparisons ? `None of ${count(counts.comparisons)} comparisons of tags shows a difference that chance does not explain.` : "Too few tagged scenes to compare tags.";
  byId("insights").replaceChildren(...(found.length ? found.map((each) => element("li", {}, each)) : [element("li", { class: "quiet" }, none)]));
}

function ranking({ ranking: rows, total, rows: atOnce, kinds: measured }) {
  document.querySelector("#ranking tbody").replaceChildren(...rows.map(row));
  byId("kinds").hidden = measured.length < 2;
  byId("kinds").textContent = `Scores of different kinds stand side by side here (${measured.join(", ")}); their numbers cannot be compared. Choose a model to compare.`;
  byId("range").textContent = total ? `${offset + 1} to ${offset + rows.length} of ${count(total)}` : "none";
  byId("back").disabled = offset === 0;
  byId("forward").disabled = offset + atOnce >= total;
  byId("back").onclick = () => { offset = Math.max(0, offset - atOnce); show(); };
  byId("forward").onclick = () => { offset += atOnce; show(); };
}

function frame({ scene_id: scene, frame_index: index, link, image }) {
  const picture = image ? element("img", { src: image, alt: "", loading: "lazy", width: 112, height: 63, onerror: (event) => event.target.remove() }) : "";
  return element("a", { class: "frame", href: link, title: `Frame ${index} of ${scene}` }, picture, element("span", {}, `frame ${index}`));
}

function row(each) {
  return element("tr", {},
    element("td", {}, frame(each)),
    element("th", { scope: "row" }, element("a", { href: `/scenes/${encodeURIComponent(each.scene_id)}` }, each.scene_id)),
    element("td", {}, element("strong", {}, score(each.max_score)), element("span", { class: "quiet" }, ` ${each.kind}`)),
    element("td", {}, element("span", {}, each.model_id), element("span", { class: "model quiet" }, `${each.evaluation}, ${each.evaluated_at}`)),
    element("td", {}, each.captured_at || ""),
    element("td", {}, ...(each.tags.length ? [element("span", { class: "chips" }, ...chips(each.tags))] : [])));
}

function view({ model_id: name, kind, tags }) {
  const low = Math.min(...tags.map(({ box }) => box.minimum));
  const high = Math.max(...tags.map(({ box }) => box.maximum));
  const [start, stop] = high > low ? [low - (high - low) * 0.03, high + (high - low) * 0.03] : [low - 0.5, high + 0.5];
  const at = (value) => ((value - start) / (stop - start)) * WIDTH;
  const lines = tags.map((each) => {
    const title = each.tag === null ? element("span", {}, "all scenes") : element("button", { type: "button", class: "tag", title: `Only ${each.tag}`, onclick: () => choose("tag", each.tag) }, each.tag);
    const interval = each.interval ? ` (${score(each.interval.low)} to ${score(each.interval.high)})` : "";
    const numbers = element("span", { class: "numbers quiet" }, element("strong", {}, score(each.mean)), `${interval}, ${each.scenes} ${each.scenes === 1 ? "scene" : "scenes"}`);
    return element("div", { class: "line" }, title, plot(each, at), numbers);
  });
  const axis = element("span", { class: "axis", "aria-hidden": "true" }, ...(high > low ? [low, (low + high) / 2, high] : [low]).map((value) => element("span", {}, score(value))));
  return element("div", { class: "view" }, element("h3", {}, `${name}: ${kind}`), element("div", { class: "plot" }, ...lines, axis));
}

function svg(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function plot({ tag: name, mean, interval, box, scenes }, at) {
  const line = (kind, from, to) => svg("line", { class: kind, x1: at(from), x2: at(to), y1: 12, y2: 12, "vector-effect": "non-scaling-stroke" });
  const upright = (kind, value, top, bottom) => svg("line", { class: kind, x1: at(value), x2: at(value), y1: top, y2: bottom, "vector-effect": "non-scaling-stroke" });
  const said = `${name ?? "all scenes"}: ${scenes} scenes, mean ${score(mean)}, median ${score(box.median)}, quartiles ${score(box.first_quartile)} and ${score(box.third_quartile)}, from ${score(box.minimum)} to ${score(box.maximum)}`;
  const parts = [
    svg("title", {}, said),
    line("whisker", box.low_whisker, box.high_whisker),
    svg("rect", { class: "box", x: at(box.first_quartile), width: Math.max(at(box.third_quartile) - at(box.first_quartile), 1), y: 5, height: 14, "vector-effect": "non-scaling-stroke" }),
    upright("median", box.median, 5, 19),
  ];
  if (interval) parts.push(line("interval", interval.low, interval.high));
  parts.push(upright("interval", mean, 8, 16));
  return svg("svg", { viewBox: `0 0 ${WIDTH} 24`, preserveAspectRatio: "none", role: "img", "aria-label": said }, ...parts);
}

function proposal(each) {
  const why = each.compared_scenes > 1 ? `less sure than of ${(100 * each.standing).toFixed(0)} % of ${count(each.compared_scenes)} scenes` : "its only scene";
  const facts = [
    element("a", { href: `/scenes/${encodeURIComponent(each.scene_id)}` }, each.scene_id),
    element("span", {}, element("strong", {}, score(each.score)), element("span", { class: "quiet" }, ` ${each.kind}`)),
    element("span", { class: "quiet" }, `${each.model_id}: ${why}`),
  ];
  if (each.later) facts.push(element("span", { class: "quiet" }, `Later: it ${each.later}.`));
  return element("article", { class: `proposal ${each.later ? "later" : ""}` }, frame(each), ...facts);
}

function leftOut({ left_out: rows, counts }) {
  byId("left-out-box").hidden = !counts.left_out && !counts.frames_without_score;
  const items = rows.map((each) => element("li", {}, element("a", { href: `/scenes/${encodeURIComponent(each.recording)}` }, each.recording), each.evaluation ? ` (${each.evaluation})` : "", `: ${each.reason}`));
  if (counts.left_out > rows.length) items.push(element("li", {}, `and ${count(counts.left_out - rows.length)} more`));
  if (counts.frames_without_score) items.push(element("li", {}, `${count(counts.frames_without_score)} scores are no numbers`));
  byId("left-out").replaceChildren(...items);
}

// A dataset of hard cases

function kinds({ views }) {
  const before = byId("score_kind").value;
  const there = [...new Map(views.map((each) => [each.score_kind, each.kind]))];
  byId("score_kind").replaceChildren(...there.map(([value, title]) => element("option", { value }, title)));
  if (there.some(([value]) => value === before)) byId("score_kind").value = before;
  byId("kind-box").hidden = there.length < 2;
}

function condition() {
  const found = Object.fromEntries(FIELDS.map((name) => [name, byId(name).value]).filter(([, value]) => value !== ""));
  if (model()) found.models = [model()];
  if (tag()) found.tags = [tag()];
  if (!byId("kind-box").hidden) found.score_kind = byId("score_kind").value;
  return found;
}

async function dataset() {
  const mine = ++looked;
  const query = new URLSearchParams({ name: byId("name").value.trim() });
  for (const [name, value] of Object.entries(condition())) for (const each of [value].flat()) query.append(name, each);
  hard = null;
  byId("build").disabled = true;
  let found;
  try {
    found = await get(`/api/hotspots/dataset?${query}`);
  } catch (error) {
    found = { problem: error.message, frames: 0, scenes: {}, command: "", config: "" };
  }
  if (mine !== looked) return;
  const scenes = Object.keys(found.scenes);
  byId("found").textContent = found.problem ? "" : `${count(found.frames)} ${found.frames === 1 ? "frame" : "frames"} of ${count(scenes.length)} ${scenes.length === 1 ? "scene" : "scenes"}`;
  byId("found-problem").textContent = found.problem || "";
  byId("command").textContent = found.command;
  byId("config").textContent = found.config;
  byId("build").disabled = Boolean(found.problem);
  hard = found.problem ? null : { name: byId("name").value.trim(), scenes, condition: condition() };
}

/** Put the scenes into the draft, and open the builder with the condition. */
async function build() {
  const { name, scenes, condition: wanted } = hard;
  let actor = localStorage.getItem("lamm.actor");
  if (!actor) {
    const { actor: offered } = await get("/api/library/words");
    actor = await askActor(offered);
    if (!actor) return;
    localStorage.setItem("lamm.actor", actor);
  }
  byId("build").disabled = true;
  try {
    for (let from = 0; from < scenes.length; from += 5000) {
      await post(`/api/library/drafts/${encodeURIComponent(name)}/scenes`, { actor, scenes: scenes.slice(from, from + 5000) });
    }
    location.assign(`/scenes?${new URLSearchParams({ draft: name, hard: JSON.stringify(wanted) })}`);
  } catch (error) {
    byId("found-problem").textContent = error.message;
    byId("build").disabled = false;
  }
}

let waiting = null;
const soon = (work) => { clearTimeout(waiting); waiting = setTimeout(work, 200); };

byId("model").onchange = () => choose("model", model());
byId("tag").onchange = () => choose("tag", tag());
byId("make").oninput = () => soon(dataset);
byId("make").onsubmit = (event) => event.preventDefault();
byId("build").onclick = build;
show();
