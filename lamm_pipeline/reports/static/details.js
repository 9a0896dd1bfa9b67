// One scene: what it is, where its files are, who did what with it, which datasets have it.

import { byId, element, get } from "./http.js";
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
    ...(found.view ? [element("a", { class: "button", href: `/scenes/${path}/view` }, "3D view")] : []));
  byId("uncertainty").hidden = scene.max_uncertainty === null;
  if (scene.max_uncertainty !== null) {
    facts("uncertainty-facts", [["Highest of a frame", uncertainty(scene.max_uncertainty)], ["Average of all frames", uncertainty(scene.avg_uncertainty)], ["Model", scene.uncertainty_model], ["Evaluation", scene.uncertainty_evaluation], ["Measured as", (scene.uncertainty_score || "").replaceAll("_", " ")]]);
  }
  byId("gifs").hidden = !found.gifs.length;
  byId("gifs").lastElementChild.replaceChildren(...found.gifs.map(({ sequence, src }) => element("a", { href: `/recordings/${path}` }, element("img", { src, alt: `Object ${sequence}`, loading: "lazy" }))));
  table("datasets", ["Version", "Title", "Created (UTC)", "By"], found.datasets.map((each) => [each.version, each.title, each.created_at, each.created_by]), "No dataset version has this scene.");
  table("history", ["When (UTC)", "Who", "What"], found.history.map((each) => [each.at, each.actor, said(each)]), "Nothing yet.");
  if (found.decisions) byId("history").prepend(element("p", {}, element("a", { href: `/recordings/${path}` }, `${count(found.decisions)} decisions on the review page`)));
  facts("file", [["Source file", code(found.file.source_path)], ...(found.file.path === found.file.source_path ? [] : [["Read from", code(found.file.path)]]), ["Size", size(found.file.bytes)], ["SHA-256", found.file.digest ? code(found.file.digest) : "not computed yet"], ...(found.file.missing ? [["Missing", "The file is no longer there."]] : []), ["In all", size(scene.storage_bytes)]]);
  table("artifacts", ["Artifact", "Size", "Version", "Folder"], found.artifacts.map((each) => [each.asset.replaceAll("_", " "), size(each.bytes), code(each.version), each.folder ? code(each.folder) : "not found"]), "Nothing was made of it yet.");
}

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
  return byId(id).replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((each) => element("th", { scope: "col" }, each)))), element("tbody", {}, ...body)));
}

try {
  show(await get(`/api/library/scenes/${path}`));
  const { runs } = await get(`/api/library/scenes/${path}/runs`);
  table("runs", ["Started (UTC)", "Job", "State", "Run"], runs.map((each) => [each.created_at, each.job, each.state, code(each.run.slice(0, 8))]), "No run of it is known.");
} catch (error) {
  byId("message").textContent = error.message;
}
