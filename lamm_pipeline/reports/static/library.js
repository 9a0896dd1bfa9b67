// The scene library: a question, its answers page by page, changes of many scenes, and the dataset builder beside it.

import { ask as askNow, askActor } from "./dialogs.js";
import { byId, element, get, post } from "./http.js";
import { about, chips, count, duration, place, size, STATUS, uncertainty } from "./scene_words.js";

const HEADS = [
  ["", null], ["Preview", null], ["Scene", "scene_id"], ["Captured", "captured_at"], ["Length", "duration_s"], ["Place", "gps"], ["Points", "points"],
  ["Objects", "annotations"], ["Max uncertainty", "max_uncertainty"], ["Status", "status"], ["Labeler", "labeler"], ["In datasets", "used_in_training"], ["Storage", "storage_bytes"],
];
const NUMBERS = new Set(["duration_s", "points", "annotations", "storage_bytes"]);
const OPERATORS = {
  text: [["contains", (c, v) => `${v} in ${c}`], ["is", (c, v) => `${c} == ${v}`], ["is not", (c, v) => `${c} != ${v}`], ["is unknown", (c) => `${c} is None`], ["is known", (c) => `${c} is not None`]],
  number: [["at least", (c, v) => `${c} >= ${v}`], ["at most", (c, v) => `${c} <= ${v}`], ["more than", (c, v) => `${c} > ${v}`], ["less than", (c, v) => `${c} < ${v}`], ["exactly", (c, v) => `${c} == ${v}`], ["is unknown", (c) => `${c} is None`], ["is known", (c) => `${c} is not None`]],
  time: [["from", (c, v) => `${c} >= ${v}`], ["before", (c, v) => `${c} < ${v}`], ["is unknown", (c) => `${c} is None`]],
  flag: [["yes", (c) => c], ["no", (c) => `not ${c}`]],
  words: [["has", (c, v) => `${v} in ${c}`], ["has not", (c, v) => `${v} not in ${c}`]],
};

const HARD = ["top", "top_per_recording", "above", "min_gap_frames", "models", "score_kind"];
const HARD_LIMITS = ["top", "top_per_recording", "above"];

const address = new URLSearchParams(location.search);
let offset = 0;
let asked = 0;
let shown = [];
let total = 0;
let everything = false; // all that fit are chosen, not only those seen
const chosen = new Set();
let words = null;
let actor = localStorage.getItem("lamm.actor");
let draft = null;
let planned = 0;
let hardTags = []; // of a condition that came from the hotspots

const asLiteral = (text) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
const question = () => ({ where: byId("where").value.trim(), search: byId("search").value.trim() });
const order = () => `${byId("direction").getAttribute("aria-pressed") === "true" ? "-" : ""}${byId("sort").value}`;

async function show() {
  const mine = ++asked;
  const query = new URLSearchParams({ ...question(), sort: order() });
  remember(query);
  query.set("offset", offset);
  let found;
  try {
    found = await get(`/api/library?${query}`);
  } catch (error) {
    if (mine === asked) byId("message").textContent = error.message;
    return;
  }
  if (mine !== asked) return;
  byId("message").textContent = "";
  shown = found.scenes;
  total = found.total;
  byId("table").hidden = total === 0;
  byId("count").textContent = tell(found);
  byId("note").hidden = found.refreshed;
  byId("note").textContent = "Previews and new recordings come with the asset scene_library: lamm scenes refresh makes it.";
  byId("range").textContent = total ? `${offset + 1} to ${offset + shown.length}` : "";
  byId("back").disabled = offset === 0;
  byId("forward").disabled = offset + found.rows >= total;
  byId("back").onclick = () => turn(Math.max(0, offset - found.rows));
  byId("forward").onclick = () => turn(offset + found.rows);
  heads();
  document.querySelector("#table tbody").replaceChildren(...shown.map(row));
  choices();
}

function tell({ all, totals }) {
  if (!all) return "There are no scenes yet: take a recording in with lamm add or lamm run.";
  if (!totals.scenes) return "No scene fits.";
  const which = totals.scenes === all ? `${count(all)} ${all === 1 ? "scene" : "scenes"}` : `${count(totals.scenes)} of ${count(all)} scenes`;
  return `${which}, ${duration(totals.duration_s)}, ${count(totals.frames)} frames, ${size(totals.storage_bytes)}`;
}

function turn(to) {
  offset = to;
  show();
  byId("scenes").scrollIntoView({ block: "start" });
}

function remember(query) {
  for (const name of ["where", "search"]) if (!query.get(name)) query.delete(name);
  history.replaceState(null, "", `/scenes?${query}`);
}

function heads() {
  const [now, down] = [byId("sort").value, byId("direction").getAttribute("aria-pressed") === "true"];
  byId("direction").firstElementChild.textContent = down ? "\u2193" : "\u2191";
  byId("heads").replaceChildren(...HEADS.map(([title, column]) => {
    if (!column) return element("th", { scope: "col" }, title ? title : element("span", { class: "hidden" }, "Chosen"));
    const sorted = column === now;
    const button = element("button", { type: "button", onclick: () => sortBy(column, sorted ? !down : false) }, title, element("span", { "aria-hidden": "true" }, sorted ? (down ? " \u2193" : " \u2191") : ""));
    return element("th", { scope: "col", class: NUMBERS.has(column) ? "number" : "", "aria-sort": sorted ? (down ? "descending" : "ascending") : "none" }, button);
  }));
}

function sortBy(column, down) {
  byId("sort").value = column;
  byId("direction").setAttribute("aria-pressed", String(down));
  again();
}

function row(scene) {
  const href = `/scenes/${encodeURIComponent(scene.scene_id)}`;
  const box = element("input", { type: "checkbox", "aria-label": `Choose ${scene.scene_id}`, onchange: (event) => choose(scene.scene_id, event.target.checked) });
  const pictures = [[scene.image_preview, "camera"], [scene.points_preview, "points from above"]].filter(([path]) => path)
    .map(([path, what]) => element("img", { src: `/files/${path}`, alt: `${scene.scene_id}: ${what}`, loading: "lazy", width: 96, height: 54 }));
  const gps = scene.gps_start_lat === null ? element("span", { class: "quiet" }, "no GPS") : element("span", {}, place(scene.gps_start_lat, scene.gps_start_lon, "start"), scene.gps_end_lat === null ? "" : " ", scene.gps_end_lat === null ? "" : place(scene.gps_end_lat, scene.gps_end_lon, "end"));
  const cell = (label, kind, ...content) => element("td", { "data-label": label, class: kind }, ...content);
  const made = element("tr", { "data-scene": scene.scene_id },
    cell("", "box", box),
    cell("", "preview", element("a", { href, tabindex: "-1", "aria-hidden": "true" }, ...(pictures.length ? pictures : [element("span", { class: "nothing" }, "no preview")]))),
    element("th", { scope: "row" }, element("a", { href }, scene.scene_id), element("span", { class: "chips" }, ...chips(scene.tags), scene.problem ? element("span", { class: "chip warning", title: scene.problem }, "cannot be read") : "")),
    cell("Captured", "", scene.captured_at || ""),
    cell("Length", "number", duration(scene.duration_s)),
    cell("Place", "", gps),
    cell("Points", "number", element("span", { title: count(scene.points) }, about(scene.points))),
    cell("Objects", "number", about(scene.annotations)),
    cell("Max uncertainty", "", uncertainty(scene.max_uncertainty), scene.uncertainty_model ? element("span", { class: "model quiet" }, scene.uncertainty_model) : ""),
    cell("Status", "", element("span", { class: `chip status-${scene.status}` }, STATUS[scene.status] || scene.status)),
    cell("Labeler", "", scene.labeler || ""),
    cell("In datasets", "", scene.datasets.length ? scene.datasets.slice(-2).join(", ") + (scene.datasets.length > 2 ? ` and ${scene.datasets.length - 2} more` : "") : ""),
    cell("Storage", "number", size(scene.storage_bytes)));
  box.checked = everything || chosen.has(scene.scene_id);
  return made;
}

/** Ask, and go on when the dialog is closed: another one may follow. */
async function ask(...what) {
  const answer = await askNow(...what);
  await closed();
  return answer;
}

const closed = () => new Promise((go) => { setTimeout(go); });

// What is chosen

function choose(scene, on) {
  if (everything) {
    everything = false;
    chosen.clear();
    for (const each of shown) chosen.add(each.scene_id);
  }
  if (on) chosen.add(scene); else chosen.delete(scene);
  choices();
}

function choices() {
  const number = everything ? total : chosen.size;
  for (const line of document.querySelectorAll("#table tbody tr")) {
    const on = everything || chosen.has(line.dataset.scene);
    line.querySelector("input").checked = on;
    line.classList.toggle("on", on);
  }
  const here = shown.filter((each) => everything || chosen.has(each.scene_id)).length;
  byId("choose-page").checked = shown.length > 0 && here === shown.length;
  byId("choose-page").indeterminate = here > 0 && here < shown.length;
  byId("choose-page").disabled = !shown.length;
  byId("chosen").hidden = number === 0;
  byId("chosen-count").textContent = `${count(number)} chosen`;
  byId("choose-all").hidden = everything || total <= shown.length || here < shown.length;
  byId("choose-all").textContent = `Choose all ${count(total)} that fit`;
  byId("to-draft").textContent = draft ? `Add to ${draft.name}` : "Add to draft";
}

function none() {
  everything = false;
  chosen.clear();
  choices();
}

const which = () => (everything ? { ...question(), expected: total } : { scenes: [...chosen] });

async function change(what) {
  if (!(await known())) return;
  try {
    const answer = await post("/api/library/changes", { actor, ...which(), ...what });
    await Promise.all([show(), offer()]);
    say(`${count(answer.changed)} of ${count(answer.chosen)} scenes changed.`);
  } catch (error) {
    byId("message").textContent = error.message;
  }
}

function say(text) {
  byId("note").hidden = false;
  byId("note").textContent = text;
}

async function askText(title, label, offered, { empty = false, ok = "OK" } = {}) {
  const list = element("datalist", { id: "offered" }, ...offered.map((each) => element("option", { value: each })));
  const input = element("input", { type: "text", maxlength: "100", list: "offered", "aria-label": label, autocomplete: "off", required: !empty, autofocus: true });
  return ask(title, [element("p", { class: "quiet" }, label), input, list], { result: () => input.value.trim(), ok });
}

async function askStatus() {
  const select = element("select", { "aria-label": "Status", autofocus: true }, ...words.statuses.map((each) => element("option", { value: each }, STATUS[each] || each)));
  return ask("Labelling status", [select], { result: () => select.value });
}

async function known() {
  if (!actor) await setActor();
  return Boolean(actor);
}

async function setActor() {
  const name = await askActor(actor || words?.actor);
  await closed();
  if (name) localStorage.setItem("lamm.actor", (actor = name));
  byId("actor-button").textContent = actor || "Who are you?";
}

// Filters

async function offer() {
  words = await get("/api/library/words");
  const now = byId("sort").value || (address.get("sort") || "scene_id").replace(/^-/, "");
  const options = () => Object.keys(words.columns).map((each) => element("option", { value: each }, each.replaceAll("_", " ")));
  const column = byId("filter-column").value;
  byId("sort").replaceChildren(...options());
  byId("sort").value = now;
  byId("filter-column").replaceChildren(...options());
  byId("filter-column").value = column || "max_uncertainty";
  byId("draft-names").replaceChildren(...[...new Set([...words.drafts.map((each) => each.name), ...words.datasets])].map((each) => element("option", { value: each })));
  const model = byId("hard-models").value;
  byId("hard-models").replaceChildren(element("option", { value: "" }, "all"), ...words.models.map((each) => element("option", { value: each }, each)));
  byId("hard-models").value = model;
  byId("hard-kinds").replaceChildren(...words.score_kinds.map((each) => element("option", { value: each })));
  if (!byId("formats").querySelector("input")) {
    byId("formats").append(...words.formats.map((each) => element("label", { class: "check" }, element("input", { type: "checkbox", value: each, checked: ["kitti", "coco"].includes(each) }), ` ${each}`)));
  }
  operators();
}

function operators() {
  const column = byId("filter-column").value;
  const kind = words.columns[column];
  byId("filter-operator").replaceChildren(...OPERATORS[kind].map(([title], number) => element("option", { value: number }, title)));
  const values = { tags: words.tags, labeler: words.labelers, status: words.statuses, uncertainty_model: words.models, datasets: [] }[column] || [];
  byId("filter-values").replaceChildren(...values.map((each) => element("option", { value: each })));
  byId("filter-value").placeholder = { time: "2026-03-01", number: "0.6" }[kind] || "";
  needed();
}

function needed() {
  byId("filter-value").disabled = filterOperator().length < 2;
}

const filterOperator = () => OPERATORS[words.columns[byId("filter-column").value]][Number(byId("filter-operator").value)][1];

function addFilter() {
  const column = byId("filter-column").value;
  const value = byId("filter-value").value.trim();
  const make = filterOperator();
  if (make.length > 1 && !value) return byId("filter-value").focus();
  const condition = make(column, words.columns[column] === "number" ? value : asLiteral(value));
  const before = byId("where").value.trim();
  byId("where").value = before ? `${/\bor\b/.test(before) ? `(${before})` : before} and ${condition}` : condition;
  byId("filter-value").value = "";
  return again();
}

function again() {
  offset = 0;
  everything = false;
  show();
}

// The dataset builder

function openBuilder(open) {
  byId("builder").hidden = !open;
  document.body.classList.toggle("building", open);
  byId("builder-button").setAttribute("aria-expanded", String(open));
}

function wanted() {
  const share = (id) => Number(byId(id).value) / 100;
  const split = { train_ratio: share("train"), val_ratio: share("val"), test_ratio: share("test"), strategy: byId("strategy").value, balance_by: byId("balance").value, seed: Number(byId("seed").value) };
  return { split, resplit: byId("resplit").checked, hard_cases: hardCases() };
}

/** The condition that only some frames fulfil; nothing where none is given. */
function hardCases() {
  const values = Object.fromEntries(HARD.map((name) => [name, byId(`hard-${name}`).value.trim()]).filter(([, value]) => value !== ""));
  if (!HARD_LIMITS.some((name) => name in values)) return {};
  if (values.models) values.models = [values.models];
  return hardTags.length ? { ...values, tags: hardTags } : values;
}

async function plan() {
  const name = byId("draft-name").value.trim();
  const mine = ++planned;
  byId("draft-message").textContent = "";
  if (!name) return drop();
  try {
    const found = await post(`/api/library/drafts/${encodeURIComponent(name)}/plan`, wanted());
    if (mine === planned) showDraft(found);
  } catch (error) {
    if (mine === planned) byId("draft-message").textContent = error.message;
  }
  return undefined;
}

function drop() {
  draft = null;
  byId("draft").hidden = true;
  choices();
}

function showDraft(found) {
  draft = found;
  byId("draft").hidden = false;
  byId("statistics").textContent = found.sentence;
  const parts = Object.entries(found.split || {}).filter(([, number]) => number);
  byId("split-bar").replaceChildren(...parts.map(([name, number]) => element("span", { class: name, style: { flex: String(number) } })));
  const statuses = Object.entries(found.statuses).map(([status, number]) => `${number} ${(STATUS[status] || status).toLowerCase()}`).join(", ");
  const facts = [["Frames", count(found.frames)], ["Objects", count(found.annotations)], ["Length", duration(found.duration_s)], ["Labelling", statuses || "none"], ["Newest version", found.previous || "none yet"]];
  if (found.changed_at) facts.push(["Changed", `${found.changed_at.slice(0, 16).replace("T", " ")} by ${found.changed_by}`]);
  byId("draft-facts").replaceChildren(...facts.flatMap(([title, text]) => [element("dt", {}, title), element("dd", {}, text)]));
  const missing = found.without_detections.length ? [`Nothing was detected yet in ${found.without_detections.join(", ")}: run them first, or take them out.`] : [];
  byId("draft-notes").replaceChildren(...[...missing, ...found.notes].map((each) => element("li", {}, each)));
  byId("resplit-box").hidden = !found.previous;
  const hard = found.hard_cases;
  const which = hardTags.length ? ` tagged ${hardTags.join(" or ")}` : "";
  byId("hard-found").textContent = !hard ? "" : hard.problem || `${count(hard.frames)} ${hard.frames === 1 ? "frame" : "frames"} of ${count(hard.scenes)} ${hard.scenes === 1 ? "scene" : "scenes"}${which}`;
  byId("save").disabled = found.total === 0 || Boolean(hard && hard.problem);
  const saved = hard && !hard.problem ? [hard.frames, "frame"] : [found.total, "scene"];
  byId("save").textContent = found.total ? `Save ${count(saved[0])} ${saved[1]}${saved[0] === 1 ? "" : "s"} as a version` : "Save as a version";
  const items = found.scenes.map((scene) => element("li", {},
    scene.image_preview ? element("img", { src: `/files/${scene.image_preview}`, alt: "", width: 48, height: 27, loading: "lazy" }) : element("span", { class: "nothing" }),
    element("a", { href: `/scenes/${encodeURIComponent(scene.scene_id)}` }, scene.scene_id),
    element("button", { type: "button", "aria-label": `Take ${scene.scene_id} out`, title: "Take out", onclick: () => changeDraft({ scenes: [scene.scene_id], remove: true }) }, "\u00d7")));
  if (found.total > found.scenes.length) items.push(element("li", { class: "quiet" }, `and ${count(found.total - found.scenes.length)} more`));
  if (!found.total) items.push(element("li", { class: "quiet" }, "Choose scenes on the left and add them."));
  byId("draft-scenes").replaceChildren(...items);
  choices();
}

async function changeDraft(what) {
  if (!(await known())) return;
  openBuilder(true);
  let name = byId("draft-name").value.trim();
  if (!name) {
    name = await askText("For which dataset?", "A new name, or that of a draft or dataset that there is.", [...words.drafts.map((each) => each.name), ...words.datasets]);
    if (!name) return;
    byId("draft-name").value = name;
  }
  byId("draft-message").textContent = "";
  try {
    showDraft(await post(`/api/library/drafts/${encodeURIComponent(name)}/scenes`, { actor, ...what, ...wanted() }));
    if (!what.remove) none();
    await offer();
  } catch (error) {
    byId("draft-message").textContent = error.message;
  }
}

async function save() {
  if (!draft || !(await known())) return;
  const formats = [...byId("formats").querySelectorAll("input:checked")].map((each) => each.value);
  const body = [element("p", {}, `${draft.sentence}.`), element("p", { class: "quiet" }, "A version never changes. Its export starts by itself while lamm up is running.")];
  if (!(await ask(`Save ${draft.name}?`, body, { ok: "Save" }))) return;
  byId("save").disabled = true;
  byId("draft-message").textContent = "";
  try {
    const { version, new: made } = await post(`/api/library/drafts/${encodeURIComponent(draft.name)}/save`, { actor, scenes: draft.total, ...wanted(), formats, title: byId("title").value.trim() });
    byId("draft-name").value = "";
    for (const each of HARD) byId(`hard-${each}`).value = "";
    hardTags = [];
    drop();
    byId("draft-message").replaceChildren(element("span", { class: "done" }, made ? "Saved as " : "Nothing differs from ", element("a", { href: "/datasets" }, version), made ? "." : ", so no new version was made."));
    await Promise.all([show(), offer()]);
  } catch (error) {
    byId("draft-message").textContent = error.message;
    byId("save").disabled = false;
  }
}

// What the page begins with

let waiting = null;
const soon = (work) => { clearTimeout(waiting); waiting = setTimeout(work, 150); };

byId("search").value = address.get("search") || "";
byId("where").value = address.get("where") || "";
byId("direction").setAttribute("aria-pressed", String((address.get("sort") || "").startsWith("-")));
byId("question").onsubmit = (event) => { event.preventDefault(); again(); };
byId("search").oninput = () => soon(again);
byId("where").onchange = again;
byId("sort").onchange = again;
byId("direction").onclick = () => sortBy(byId("sort").value, byId("direction").getAttribute("aria-pressed") !== "true");
byId("filter-column").onchange = operators;
byId("filter-operator").onchange = needed;
byId("filter-add").onclick = addFilter;
byId("filter-value").onkeydown = (event) => { if (event.key === "Enter") { event.preventDefault(); addFilter(); } };
byId("choose-page").onchange = (event) => { for (const each of shown) { if (event.target.checked) chosen.add(each.scene_id); else chosen.delete(each.scene_id); } everything = false; choices(); };
byId("choose-all").onclick = () => { everything = true; choices(); };
byId("choose-none").onclick = none;
byId("add-tag").onclick = async () => { const tag = await askText("Add a tag", "A word for all chosen scenes.", words.tags, { ok: "Add" }); if (tag) change({ tag }); };
byId("remove-tag").onclick = async () => { const untag = await askText("Remove a tag", "Scenes that do not have it stay as they are.", words.tags, { ok: "Remove" }); if (untag) change({ untag }); };
byId("set-labeler").onclick = async () => { const labeler = await askText("Who labels them?", "An empty name takes them from whoever had them.", words.labelers, { empty: true }); if (labeler !== null) change({ labeler }); };
byId("set-status").onclick = async () => { const status = await askStatus(); if (status) change({ status }); };
byId("to-draft").onclick = () => changeDraft(which());
byId("builder-button").onclick = () => openBuilder(byId("builder").hidden);
byId("draft-name").onchange = plan;
for (const id of ["train", "val", "test", "strategy", "balance", "seed", "resplit", ...HARD.map((name) => `hard-${name}`)]) byId(id).addEventListener("input", () => draft && soon(plan));
byId("save").onclick = save;
byId("actor-button").onclick = setActor;
byId("actor-button").textContent = actor || "Who are you?";
if (address.get("builder") === "open") openBuilder(true);

try {
  await offer();
  if (address.get("draft")) {
    byId("draft-name").value = address.get("draft");
    const { tags, models, ...limits } = JSON.parse(address.get("hard") || "{}");
    for (const [name, value] of Object.entries(limits)) if (HARD.includes(name)) byId(`hard-${name}`).value = value;
    for (const each of models || []) {
      if (!words.models.includes(each)) byId("hard-models").append(element("option", { value: each }, each));
      byId("hard-models").value = each;
    }
    hardTags = tags || [];
    byId("hard-box").open = true;
    openBuilder(true);
    plan();
  } else if (words.drafts.length) {
    byId("draft-name").value = words.drafts[0].name;
    plan();
  }
} catch (error) {
  byId("message").textContent = error.message;
}
show();
