// The list of recordings with how far each is.

import { byId, element, get } from "./http.js";

let offset = 0;
let asked = 0;

async function show() {
  const mine = ++asked;
  const query = byId("query").value.trim();
  let found;
  try {
    found = await get(`/api/recordings?offset=${offset}&query=${encodeURIComponent(query)}`);
  } catch (error) {
    byId("message").textContent = error.message;
    return;
  }
  if (mine !== asked) return;
  const body = document.querySelector("tbody");
  body.replaceChildren(...found.recordings.map(row));
  byId("recordings").hidden = found.total === 0;
  byId("message").textContent = found.total ? "" : query ? "No recording is called or tagged so." : "There are no recordings yet: take one in with lamm add or lamm run.";
  byId("paging").hidden = found.total <= found.rows;
  byId("range").textContent = `${offset + 1} to ${offset + found.recordings.length} of ${found.total}`;
  byId("back").disabled = offset === 0;
  byId("forward").disabled = offset + found.rows >= found.total;
  byId("back").onclick = () => { offset = Math.max(0, offset - found.rows); show(); };
  byId("forward").onclick = () => { offset += found.rows; show(); };
  for (const [number, each] of found.recordings.entries()) {
    const summary = await get(`/api/recordings/${encodeURIComponent(each.recording)}/summary`).catch((error) => ({ error: error.message }));
    if (mine !== asked) return;
    fill(body.children[number], each, summary);
  }
}

function row(each) {
  const link = element("a", { href: `/recordings/${encodeURIComponent(each.recording)}` }, each.recording);
  const tags = each.tags.map((tag) => element("span", { class: "chip" }, tag));
  const cells = [["Objects", "..."], ["Annotations", "..."], ["Frames", ""]].map(([label, text]) => element("td", { "data-label": label, class: label === "Frames" ? "number" : "" }, text));
  return element("tr", {}, element("th", { scope: "row" }, link), ...cells,
    element("td", { "data-label": "Status" }, each.status.replace("_", " ")), element("td", { "data-label": "Labeler" }, each.labeler || ""), element("td", { "data-label": "Tags" }, ...tags));
}

function fill(line, each, summary) {
  const [name, objects, annotations, frames] = line.children;
  if (summary.error || !summary.ready) {
    objects.replaceChildren(element("span", { class: "quiet" }, summary.error || "nothing to see yet"));
    annotations.textContent = "";
    return;
  }
  const { progress } = summary;
  objects.replaceChildren(...share(progress.sequences_reviewed, progress.sequences));
  annotations.replaceChildren(...share(progress.annotations_reviewed, progress.annotations));
  const similar = element("a", { href: `/recordings/${encodeURIComponent(each.recording)}/clusters` }, "similar ones");
  frames.replaceChildren(`${summary.frames ?? ""} `, similar);
  if (summary.lost) name.append(" ", element("span", { class: "chip warning", title: "Decisions that find nothing in the present data" }, `${summary.lost} lost`));
}

function share(done, total) {
  if (!total) return [element("span", { class: "quiet" }, "none")];
  return [element("progress", { max: total, value: done, "aria-hidden": "true" }), ` ${done} of ${total}`];
}

byId("query").addEventListener("input", () => { offset = 0; show(); });
show();
