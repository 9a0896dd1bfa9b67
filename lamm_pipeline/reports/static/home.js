// The dashboard: asked for again every few seconds while it is looked at; only what has changed is put into the page anew.

import { byId, element, get } from "./http.js";
import { about, chips, count, duration, size, STATUS, uncertainty } from "./scene_words.js";

const EVERY_MS = 5000;
const SVG = "http://www.w3.org/2000/svg";
const VOLUME = { recordings: "Recordings", point_clouds: "Point clouds", other_artifacts: "Other artifacts", datasets: "Datasets" };
const KINDS = { people: "People", data: "Data", run: "Run", check: "Check" };
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];
const ago = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });

const shown = {};
let older = []; // entries of the feed that were asked for by hand
let after = null;
let asking = false;

async function refresh() {
  if (asking) return;
  asking = true;
  try {
    show(await get("/api/dashboard"));
    byId("message").textContent = "";
  } catch (error) {
    byId("message").textContent = `${error.message} Trying again.`;
  } finally {
    asking = false;
  }
}

function show(found) {
  const nothing = found.scenes.scenes === 0 && found.feed.entries.length === 0;
  byId("empty").hidden = found.scenes.scenes > 0;
  byId("content").hidden = nothing;
  document.body.classList.toggle("no-scenes", found.scenes.scenes === 0);
  byId("empty-run").textContent = `lamm run demo.svo2 --root ${found.root}`;
  byId("empty-launchpad").href = found.links.find((each) => each.title === "Process a recording").href;
  put("tiles", [found.scenes, found.volume, found.active.length, found.failed.length, found.checks, found.waiting], () => tiles(found));
  put("labelling", found.labelling, () => labelling(found.labelling, found.scenes.scenes));
  put("volume", [found.volume, found.library_refreshed], () => volume(found.volume, found.library_refreshed));
  byId("active-box").hidden = found.active.length === 0;
  put("active", found.active, () => found.active.map(active));
  put("attention", [found.failed, found.checks, found.waiting], () => attention(found));
  put("uncertain", found.uncertain, () => uncertain(found.uncertain));
  put("evaluations", found.evaluations, () => evaluations(found.evaluations));
  put("links", found.links, () => links(found.links));
  put("feed", found.feed, () => feed(found.feed));
  tellTimes();
}

/** Put content where it belongs, unless it is there already; who was at a link there stays at it. */
function put(id, content, make) {
  const now = JSON.stringify(content);
  if (shown[id] === now) return;
  shown[id] = now;
  const place = byId(id);
  const href = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  place.replaceChildren(...make());
  if (href) [...place.querySelectorAll("a")].find((each) => each.getAttribute("href") === href)?.focus();
}

const link = (href, text, more = {}) => (href ? element("a", { href, ...more }, text) : element("span", {}, text));
const moment = (at) => element("time", { datetime: at, title: `${at.slice(0, 19).replace("T", " ")} UTC` });
const quiet = (text) => element("p", { class: "quiet" }, text);

function tellTimes() {
  for (const each of document.querySelectorAll("time")) {
    const seconds = (Date.now() - Date.parse(each.dateTime)) / 1000;
    const [unit, length] = UNITS.find(([, one]) => seconds >= one) || [null, 1];
    const text = unit ? ago.format(-Math.floor(seconds / length), unit) : "just now";
    if (each.textContent !== text) each.textContent = text;
  }
}

// Widgets

function tiles({ scenes, volume: bytes, active: runs, failed, checks, waiting, most }) {
  const more = (number, limit) => `${count(number)}${number === limit ? "+" : ""}`; // no more than these are looked for
  const running = runs.filter((each) => each.state === "running").length;
  const warnings = checks.filter((each) => each.severity === "WARN").length;
  const errors = failed.length + checks.length - warnings;
  const waits = waiting.reduce((sum, each) => sum + each.count, 0);
  const known = [[scenes.frames, "frames"], [scenes.points, "points"]].filter(([value]) => value !== null).map(([value, what]) => `${about(value)} ${what}`);
  const all = [
    ["Scenes", count(scenes.scenes), [scenes.duration_s ? duration(scenes.duration_s) : null, ...known].filter(Boolean).join(", ") || "nothing extracted yet", "/scenes", ""],
    ["Data volume", size(bytes.total), `${size(bytes.recordings)} recorded`, "/scenes?sort=-storage_bytes", ""],
    ["Active runs", more(runs.length, most.active), runs.length ? `${running} running, ${runs.length - running} waiting` : "nothing is running", runs.length ? "#active-title" : null, ""],
    ["Failed", failed.length === most.failed ? `${count(errors)}+` : count(errors), [failed.length ? plural(failed.length, "run") : "", errors > failed.length ? plural(errors - failed.length, "check") : "", warnings ? `${plural(warnings, "check")} with warnings` : ""].filter(Boolean).join(", ") || "nothing in the latest runs", errors + warnings ? "#attention-title" : null, errors ? "bad" : warnings ? "warn" : ""],
    ["Waits for people", count(waits), waits ? waiting.map((each) => each.what).join(", ") : "nothing", waits ? "#attention-title" : null, ""],
  ];
  return all.map(([title, value, note, href, kind]) => {
    const inside = [element("span", { class: "label" }, title), element("strong", {}, value), element("span", { class: "note" }, note)];
    return element("li", { class: `tile ${kind}` }, href ? element("a", { href }, ...inside) : element("div", {}, ...inside));
  });
}

const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

function labelling(slices, total) {
  if (!total) return [quiet("There are no scenes yet.")];
  const chart = document.createElementNS(SVG, "svg");
  chart.setAttribute("viewBox", "0 0 100 100");
  chart.setAttribute("role", "img");
  chart.setAttribute("aria-label", slices.map((each) => `${each.name}: ${each.scenes}`).join(", "));
  for (const each of slices.filter(({ scenes }) => scenes)) {
    const ring = document.createElementNS(SVG, "circle");
    const attributes = { cx: 50, cy: 50, r: 40, pathLength: 100, "stroke-dasharray": `${100 * each.share + 0.3} 100`, "stroke-dashoffset": -100 * each.begin, transform: "rotate(-90 50 50)", class: `slice ${each.status}` };
    for (const [name, value] of Object.entries(attributes)) ring.setAttribute(name, value);
    chart.append(ring);
  }
  const done = slices.find((each) => each.status === "labelled");
  const middle = document.createElementNS(SVG, "text");
  middle.setAttribute("x", "50");
  middle.setAttribute("y", "55");
  middle.textContent = `${Math.floor(done.share * 100)} %`;
  chart.append(middle);
  const rows = slices.map((each) => element("li", {},
    element("span", { class: `swatch ${each.status}` }),
    link(`/scenes?where=${encodeURIComponent(`status == '${each.status}'`)}`, each.name),
    element("span", { class: "number" }, count(each.scenes)),
    element("span", { class: "share" }, `${(each.share * 100).toFixed(each.share > 0 && each.share < 0.1 ? 1 : 0)} %`)));
  return [element("div", { class: "chart" }, chart, element("ul", { class: "legend-rows" }, ...rows))];
}

function volume(bytes, refreshed) {
  const note = refreshed ? "What is in force; older versions are not counted." : "As this server has found it first; lamm scenes refresh counts anew.";
  const parts = Object.entries(VOLUME).map(([name, title]) => [name, title, bytes[name]]);
  const bar = element("div", { class: "bar", "aria-hidden": "true" }, ...parts.filter(([, , value]) => value).map(([name, , value]) => element("span", { class: name, style: { flex: `${value / bytes.total} 0 0` } })));
  const rows = parts.map(([name, title, value]) => element("li", {}, element("span", { class: `swatch ${name}` }), element("span", {}, title), element("span", { class: "number" }, size(value))));
  return [bytes.total ? bar : "", element("ul", { class: "legend-rows" }, ...rows), element("p", { class: "quiet small" }, note)];
}

function active(run) {
  const share = run.progress === null ? null : Number.parseFloat(run.progress);
  const done = run.state === "running" && share !== null ? element("progress", { max: 100, value: share, "aria-label": `${run.job}: ${run.progress}` }) : element("span", { class: "chip" }, run.state === "pending" ? "waits" : "running");
  return element("p", { class: "run" }, element("span", { class: "what" }, link(run.href, run.job), run.partition ? " of " : "", run.partition ? link(run.partition_href, run.partition) : ""), done, element("span", { class: "quiet who" }, run.actor || "", " "), moment(run.at));
}

function attention({ failed, checks, waiting }) {
  const problem = (kind, title, each, words) => element("li", { class: kind }, element("p", {}, element("span", { class: "chip" }, title), " ", link(each.href, words), each.partition ? " of " : "", each.partition ? link(each.partition_href, each.partition) : "", " ", moment(each.at)), each.problem ? element("p", { class: "problem" }, each.problem) : "");
  const list = [
    ...failed.map((each) => problem("bad", "run failed", each, each.job)),
    ...checks.map((each) => problem(each.severity === "ERROR" ? "bad" : "warn", each.severity === "ERROR" ? "check failed" : "check warns", each, `${each.check} on ${each.asset}`)),
  ];
  const waits = waiting.map((each) => element("li", {}, element("strong", {}, count(each.count)), " ", link(each.href, each.what)));
  return [
    waits.length ? element("ul", { class: "waits" }, ...waits) : quiet("Nothing waits for people."),
    list.length ? element("ul", { class: "problems" }, ...list) : quiet("Nothing has failed in the latest runs."),
  ];
}

// Tables

const cell = (label, kind, ...content) => element("td", { "data-label": label, class: kind }, ...content);

function table(heads, rows) {
  const head = element("tr", {}, ...heads.map(([title, kind]) => element("th", { scope: "col", class: kind || "" }, title)));
  return element("table", {}, element("thead", {}, head), element("tbody", {}, ...rows));
}

function uncertain(scenes) {
  if (!scenes.length) return [element("p", { class: "quiet" }, "No model was evaluated yet: ", element("code", {}, "lamm evaluation add"), " takes predictions in.")];
  const rows = scenes.map((each) => element("tr", {},
    element("th", { scope: "row" }, link(each.href, each.scene), element("span", { class: "chips" }, ...chips(each.tags))),
    cell("Max uncertainty", "", uncertainty(each.score)),
    cell("Frame", "", each.frame === null ? "" : each.frame_href ? link(each.frame_href, `${each.frame} in 3D`) : String(each.frame)),
    cell("Model", "model", each.model || ""),
    cell("Status", "", element("span", { class: `chip status-${each.status}` }, STATUS[each.status] || each.status))));
  const heads = [["Scene"], ["Max uncertainty"], ["Frame"], ["Model"], ["Status"]];
  const more = element("p", { class: "more" }, link("/scenes?sort=-max_uncertainty", "All scenes by uncertainty"), link("/hotspots", "Hotspots by model and tag"));
  return [table(heads, rows), more];
}

function evaluations(found) {
  if (!found.length) return [quiet("There are none yet.")];
  const rows = found.map((each) => element("tr", {},
    element("th", { scope: "row" }, link(`/scenes?where=${encodeURIComponent(`uncertainty_evaluation == ${literal(each.evaluation)}`)}`, each.evaluation), element("span", { class: "model quiet" }, each.model_id)),
    cell("Run", "", moment(each.evaluated_at)),
    cell("Frames", "number", count(each.frames)),
    cell("Mean", "number", element("span", { title: each.score_kinds.join(", ") }, each.mean.toFixed(3))),
    cell("95th percentile", "number", each.p95.toFixed(3)),
    cell("Frames by score", "", histogram(each.histogram)),
    cell("Mean IoU", "number", each.mean_iou === null ? element("span", { class: "quiet" }, "no labels") : element("span", { title: `${count(each.labelled)} frames, labels: ${each.label_sources.join(", ")}` }, each.mean_iou.toFixed(3), each.label_sources.includes("derived") ? element("span", { class: "quiet" }, " derived") : ""))));
  return [table([["Evaluation"], ["Run"], ["Frames", "number"], ["Mean", "number"], ["95th pct.", "number"], ["Frames by score, 0 to 1"], ["Mean IoU", "number"]], rows)];
}

const literal = (text) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;

function histogram(buckets) {
  const most = Math.max(1, ...buckets);
  const bars = buckets.map((frames, at) => element("span", { title: `${(at / 10).toFixed(1)} to ${((at + 1) / 10).toFixed(1)}: ${plural(frames, "frame")}`, class: frames ? "" : "none", style: { height: `${frames ? Math.max(8, (100 * frames) / most) : 4}%` } }));
  return element("span", { class: "histogram", role: "img", "aria-label": buckets.map((frames, at) => `${(at / 10).toFixed(1)}: ${frames}`).join(", ") }, ...bars);
}

// Links and feed

function links(all) {
  const row = (each) => element("li", { title: each.note }, link(each.href, each.title), element("span", { class: "quiet" }, each.href && each.group === "here" ? "" : ` ${each.note}`));
  const group = (name) => element("ul", {}, ...all.filter((each) => each.group === name).map(row));
  return [group("here"), element("h3", {}, "In Dagster"), group("dagster")];
}

function feed(found) {
  if (!older.length) after = found.after;
  byId("older").hidden = after === null;
  if (!found.entries.length) return [element("li", { class: "quiet" }, "Nothing has happened yet.")];
  const last = found.entries.at(-1).at;
  return [...found.entries, ...older.filter((each) => each.at <= last)].map(entry);
}

function entry({ at, kind, actor, parts, bad }) {
  const words = parts.map((part) => (part.href ? link(part.href, part.text) : part.text));
  return element("li", { class: `kind-${kind}${bad ? " bad" : ""}` }, element("span", { class: "dot", title: KINDS[kind] }), element("p", {}, actor && kind !== "run" && kind !== "check" ? element("strong", {}, `${actor} `) : "", ...words), element("p", { class: "quiet" }, actor && kind === "run" ? `${actor}, ` : "", moment(at)));
}

byId("older").onclick = async () => {
  byId("older").disabled = true;
  try {
    const found = await get(`/api/activity?before=${encodeURIComponent(after)}`);
    older = [...older, ...found.entries];
    after = found.after;
    byId("feed").append(...found.entries.map(entry));
    byId("older").hidden = after === null;
    tellTimes();
  } catch (error) {
    byId("message").textContent = error.message;
  } finally {
    byId("older").disabled = false;
  }
};

// Search

let typed = null;

byId("scene").oninput = () => {
  clearTimeout(typed);
  typed = setTimeout(async () => {
    const found = await get(`/api/library?search=${encodeURIComponent(byId("scene").value)}`).catch(() => ({ scenes: [] }));
    byId("scenes").replaceChildren(...found.scenes.slice(0, 10).map((each) => element("option", { value: each.scene_id })));
  }, 150);
};

byId("find").onsubmit = async (event) => {
  event.preventDefault();
  clearTimeout(typed);
  const wanted = byId("scene").value.trim();
  if (!wanted) return;
  const found = await get(`/api/library?search=${encodeURIComponent(wanted)}`).catch(() => ({ scenes: [], total: 0 }));
  const only = found.scenes.find((each) => each.scene_id === wanted) || (found.total === 1 ? found.scenes[0] : null);
  location.assign(only ? `/scenes/${encodeURIComponent(only.scene_id)}` : `/scenes?search=${encodeURIComponent(wanted)}`);
};

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, textarea, select")) return;
  event.preventDefault();
  byId("scene").focus();
});

document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
setInterval(() => { if (!document.hidden) refresh(); }, EVERY_MS);
setInterval(tellTimes, 30_000);
refresh();
