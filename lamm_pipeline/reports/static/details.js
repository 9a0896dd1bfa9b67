// One scene: what it is, where its files are, who did what with it, which datasets have it.

import { byId, element, get } from "./http.js";
import { drawTimeline, frameLink, kindName, reviewLink } from "./scene_timeline.js";
import { chips, count, duration, place, size, STATUS, uncertainty } from "./scene_words.js";

const key = decodeURIComponent(location.pathname.split("/")[2]);
const path = encodeURIComponent(key);

function show(found) {
  const { scene } = found;
  document.title = `${scene.scene_id} - Scene`;
  byId("scene-id").textContent = scene.scene_id;
  byId("summary").hidden = false;
  const pictures = [[scene.image_preview, "What the camera saw"], [scene.points_preview, "Points from above"]].filter(([file]) => file);
  byId("pictures").replaceChildren(...pictures.map(([file, title]) => element("figure", {}, element("img", { src: `/files/${file}`, alt: title, width: 240, height: 135 }), element("figcaption", { class: "quiet" }, title))));
  byId("pictures").hidden = !pictures.length;
  byId("chips").replaceChildren(element("span", { class: `chip status-${scene.status}` }, STATUS[scene.status] || scene.status), " ", ...chips(scene.tags));
  facts("facts", [
    ["Captured", found.captured_at || "unknown"],
    ["Length", duration(scene.duration_s) || "unknown"],
    ["Begins", where(scene.gps_start_lat, scene.gps_start_lon)],
    ["Ends", where(scene.gps_end_lat, scene.gps_end_lon)],
    ["Frames", count(scene.frames)],
    ["Points", count(scene.points)],
    ["Objects found", count(scene.annotations)],
    ["Labeler", scene.labeler || "nobody"],
    ["Source", scene.source || "picked by hand"],
    ["Added", `${found.added.at} by ${found.added.by}`],
    ...(scene.problem ? [["Cannot be read", scene.problem]] : []),
  ]);
  byId("links").replaceChildren(
    element("a", { class: "button", href: `/recordings/${path}` }, "Review"),
    element("a", { class: "button", href: `/recordings/${path}/clusters` }, "Similar frames"),
    ...(found.view.there ? [element("a", { class: "button", href: `/scenes/${path}/view` }, "3D view")] : []),
    ...(found.view.note ? [element("span", { class: "quiet note" }, ...withCode(found.view.note))] : []));
  if (scene.max_uncertainty !== null) {
    const measured = (scene.uncertainty_score || "").replaceAll("_", " ");
    facts("uncertainty-facts", [["Highest of a frame", uncertainty(scene.max_uncertainty)], ["Model", scene.uncertainty_model], ["Evaluation", scene.uncertainty_evaluation], ["Measured as", measured], ["Average so measured", uncertainty(scene.avg_uncertainty)]]);
  }
  byId("gifs").hidden = !found.gifs.length;
  byId("gifs").lastElementChild.replaceChildren(...found.gifs.map(({ sequence, src }) => element("a", { href: `/recordings/${path}` }, element("img", { src, alt: `Object ${sequence}`, loading: "lazy" }))));
  table("datasets", ["Version", "Title", "Created (UTC)", "By"], found.datasets.map((each) => [each.version, each.title, each.created_at, each.created_by]), "No dataset version has this scene.");
  table("history", ["When (UTC)", "Who", "What"], found.history.map((each) => [each.at, each.actor, said(each)]), "Nothing yet.");
  if (found.decisions) byId("history").prepend(element("p", {}, element("a", { href: `/recordings/${path}` }, `${count(found.decisions)} decisions on the review page`)));
  facts("file", [["Source file", code(found.file.source_path)], ...(found.file.path === found.file.source_path ? [] : [["Read from", code(found.file.path)]]), ["Size", size(found.file.bytes)], ["SHA-256", found.file.digest ? code(found.file.digest) : "not computed yet"], ...(found.file.missing ? [["Missing", "The file is no longer there."]] : []), ["In all", size(scene.storage_bytes)]]);
  table("artifacts", ["Artifact", "Size", "Version", "Folder"], found.artifacts.map((each) => [each.asset.replaceAll("_", " "), size(each.bytes), code(each.version), each.folder ? code(each.folder) : "not found"]), "Nothing was made of it yet.");
}

/** How unsure models are, frame by frame; scores of other frames than there are now are not shown. */
async function showUncertainty(found) {
  const { series, problem, view } = found;
  const none = "No model was evaluated on this scene. `lamm evaluation add FOLDER` takes predictions in; `lamm evaluation ensemble " + key + "` needs no trained model.";
  const missing = found.plot ? "" : "The timeline needs Plotly: `pip install 'lamm-pipeline[view]'` on the machine of this server. The table has the most uncertain frames.";
  byId("uncertainty-note").replaceChildren(...withCode(problem || (series.length ? missing : found.left_out.length ? "" : none)));
  byId("uncertainty-facts").hidden = !series.length || !byId("uncertainty-facts").children.length;
  byId("left-out").replaceChildren(...found.left_out.flatMap((each) => [`${each.evaluation} is not shown (${each.status}): ${each.reason}.`, element("br")]));
  const link = (frame) => (view.there ? frameLink(path, frame) : reviewLink(path, frame));
  byId("top-frames").replaceChildren(...[...new Set(found.top.map((each) => each.score_kind))].map((kind) => ranking(kind, found.top.filter((each) => each.score_kind === kind), link)));
  const wanted = new URLSearchParams(location.search).get("frame");
  const marked = wanted !== null && /^\d{1,15}$/.test(wanted) ? Number(wanted) : null;
  if (marked !== null) openFrame(marked, view);
  if (!series.length || !found.plot) return;
  for (const id of ["plot", "plot-help", "axis-label"]) byId(id).hidden = false;
  await drawTimeline(found, marked, (frame) => (view.there ? location.assign(frameLink(path, frame)) : openFrame(frame, view)));
}

/** The most uncertain frames by one kind of score. */
function ranking(kind, top, link) {
  const head = element("tr", {}, ...["Frame", "Score", "IoU", "Evaluation"].map((each) => element("th", { scope: "col" }, each)));
  const rows = top.map((each) => element("tr", {}, element("td", {}, element("a", { href: link(each.frame_index), "aria-label": `Frame ${each.frame_index}` }, each.frame_index)),
    element("td", {}, uncertainty(each.score)), element("td", {}, each.iou === null ? "" : each.iou.toFixed(3)), element("td", { title: `${each.evaluation} (${each.model_id})` }, each.evaluation)));
  return element("table", {}, element("caption", {}, `Highest ${kindName(kind)}`), element("thead", {}, head), element("tbody", {}, ...rows));
}

/** What there is of a frame that was asked for here, because there is no 3D view, or because the address names it. */
function openFrame(frame, view) {
  byId("frame-note").hidden = false;
  byId("frame-note").replaceChildren(`Frame ${frame}: `, ...(view.there ? [element("a", { href: frameLink(path, frame) }, "in 3D"), ", "] : []),
    element("a", { href: reviewLink(path, frame) }, "on the review page"), ". ", ...(view.there ? [] : withCode(view.note)));
}

/** A sentence whose parts between backticks are code. */
const withCode = (sentence) => sentence.split("`").map((part, number) => (number % 2 ? code(part) : part));

const code = (text) => element("code", {}, text);
const where = (latitude, longitude) => (latitude === null ? element("span", { class: "quiet" }, "no GPS") : place(latitude, longitude));

function said({ action, details }) {
  if (action === "tag.add") return `tag ${details.tag} added`;
  if (action === "tag.remove") return `tag ${details.tag} removed`;
  if (action === "labelling.set") {
    const { before, after } = details;
    const status = before.status === after.status ? [] : [`${STATUS[before.status] || before.status} \u2192 ${STATUS[after.status] || after.status}`];
    const labeler = before.labeler === after.labeler ? [] : [`labeler ${before.labeler || "nobody"} \u2192 ${after.labeler || "nobody"}`];
    return [...status, ...labeler].join(", ");
  }
  return { "recording.add": "taken in", "recording.missing": "file missing", "recording.found": "file there again" }[action] || action.replaceAll(/[._]/g, " ");
}

function facts(id, rows) {
  byId(id).replaceChildren(...rows.flatMap(([title, text]) => [element("dt", {}, title), element("dd", {}, text)]));
}

function table(id, heads, rows, empty) {
  if (!rows.length) return byId(id).replaceChildren(element("p", { class: "quiet" }, empty));
  const body = rows.map((cells) => element("tr", {}, ...cells.map((each, number) => element("td", { "data-label": heads[number] }, each))));
  return byId(id).replaceChildren(element("table", { class: "cards" }, element("thead", {}, element("tr", {}, ...heads.map((each) => element("th", { scope: "col" }, each)))), element("tbody", {}, ...body)));
}

async function showRuns() {
  const { runs } = await get(`/api/library/scenes/${path}/runs`);
  table("runs", ["Started (UTC)", "Job", "State", "Run"], runs.map((each) => [each.created_at, each.job, each.state, code(each.run.slice(0, 8))]), "No run of it is known.");
}

try {
  show(await get(`/api/library/scenes/${path}`));
  await Promise.all([showRuns(), get(`/api/library/scenes/${path}/timeline`).then(showUncertainty)]);
} catch (error) {
  byId("message").textContent = error.message;
}
