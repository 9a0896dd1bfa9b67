// Similar frames of a recording: sliders for the thresholds, the frames that stay, and on demand those that each of them stands for.

import { byId, element, get } from "./http.js";

const recording = decodeURIComponent(location.pathname.split("/")[2]);
const page = `/recordings/${encodeURIComponent(recording)}`;
const api = `/api${page}/clusters`;
const NAMES = ["similarity", "motion"];

const wanted = { similarity: null, motion: null, order: "size", offset: 0 };
let shown = null;
let asking = false;
let stale = false;

/** Ask for what is wanted now; while an answer is under way only the newest wish is kept. */
async function show() {
  stale = true;
  if (asking) return;
  asking = true;
  while (stale) {
    stale = false;
    try {
      const found = await get(`${api}?${query()}&order=${wanted.order}&offset=${wanted.offset}`);
      if (wanted.offset && wanted.offset >= found.total) {
        wanted.offset = 0;
        stale = true;
      } else take(found);
      byId("message").textContent = "";
    } catch (error) {
      byId("message").textContent = error.message;
    }
  }
  asking = false;
}

function query() {
  return NAMES.filter((name) => wanted[name] !== null).map((name) => `${name}=${wanted[name]}`).join("&");
}

function take(found) {
  shown = found;
  if (!stale) for (const name of NAMES) setControls(name, found[`${name}_threshold`]);
  const { counts, in_force: now } = found;
  byId("kept").replaceChildren(element("strong", {}, counted(counts.kept)), ` of ${counted(counts.frames)} frames stay`);
  byId("share").max = counts.frames || 1;
  byId("share").value = counts.kept;
  byId("dropped").textContent = [
    `Dropped: ${counted(counts.dropped)} (repeated ${counted(counts.repeated)}, still ${counted(counts.still)}).`,
    counts.no_part ? `Excluded already, or not labelled: ${counted(counts.no_part)}.` : "",
    counts.unreadable ? `Not compared, for their images cannot be read: ${counted(counts.unreadable)}.` : "",
  ].filter(Boolean).join(" ");
  const back = element("button", { type: "button", onclick: () => choose(now.similarity_threshold, now.motion_threshold) }, "Back to these");
  const differs = NAMES.some((name) => now[`${name}_threshold`] !== found[`${name}_threshold`]);
  const state = now.diversity ? "In force" : "In force: diversity is off; its thresholds";
  byId("in-force").replaceChildren(`${state}: similarity ${now.similarity_threshold}, motion ${now.motion_threshold}. `, differs ? back : "");
  byId("command").textContent = found.command;
  byId("config").textContent = found.config;
  byId("note").textContent = found.note || "";
  byId("note").hidden = !found.note;
  byId("kept-frames").replaceChildren(...found.kept.map(card));
  byId("bar").hidden = found.total === 0;
  byId("paging").hidden = found.total <= found.rows;
  const last = wanted.offset + found.kept.length;
  for (const each of document.querySelectorAll(".range")) each.textContent = `${counted(wanted.offset + (last ? 1 : 0))} to ${counted(last)} of ${counted(found.total)} that stay`;
  for (const each of document.querySelectorAll(".back")) each.disabled = wanted.offset === 0;
  for (const each of document.querySelectorAll(".forward")) each.disabled = last >= found.total;
}

function card({ index, members, mean_similarity }) {
  const made = element("article", { class: "cluster" }, picture(index, `frame ${index}`));
  if (!members) {
    made.append(element("span", { class: "quiet" }, "stands alone"));
    return made;
  }
  const button = element("button", { type: "button", "aria-expanded": "false" }, `${counted(members)} more like it`);
  button.addEventListener("click", () => toggle(made, button, index));
  made.append(element("span", { class: "about" }, button, element("span", { class: "quiet", title: "mean similarity" }, percent(mean_similarity))));
  return made;
}

function toggle(made, button, index) {
  const open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) {
    made.nextElementSibling.remove();
    return;
  }
  const panel = element("section", { class: "members", "aria-label": `Frames that frame ${index} stands for` });
  made.after(panel);
  more(panel, index, 0, { similarity_threshold: shown.similarity_threshold, motion_threshold: shown.motion_threshold });
}

async function more(panel, index, offset, at) {
  let found;
  try {
    found = await get(`${api}/${index}?similarity=${at.similarity_threshold}&motion=${at.motion_threshold}&offset=${offset}`);
  } catch (error) {
    panel.append(element("p", { role: "alert" }, error.message));
    return;
  }
  panel.append(...found.members.map((each) => {
    const why = each.still ? "nothing moves" : "repeats it";
    return element("div", { class: "member" }, picture(each.index, `${each.index}, ${why}, ${percent(each.similarity)}`));
  }));
  const next = offset + found.members.length;
  if (next >= found.total) return;
  const button = element("button", { type: "button", onclick: () => { button.remove(); more(panel, index, next, at); } }, `${counted(found.total - next)} more`);
  panel.append(button);
}

/** A thumbnail that leads to the frame on the review page. */
function picture(index, text) {
  const image = element("img", { src: `${page}/images/${shown.frames_version}/${index}?small=1`, alt: "", loading: "lazy", decoding: "async" });
  return element("a", { class: "picture", href: `${page}#frame=${index}` }, image, element("span", { class: "caption" }, text));
}

function setControls(name, value) {
  byId(name).value = value;
  if (document.activeElement !== byId(`${name}-number`)) byId(`${name}-number`).value = value;
}

function choose(similarity, motion) {
  Object.assign(wanted, { similarity, motion, offset: 0 });
  setControls("similarity", similarity);
  setControls("motion", motion);
  remember();
  show();
}

/** The address names what is shown, so that it can be sent and the way back leads here. */
function remember() {
  const parts = [query(), wanted.order === "size" ? "" : `order=${wanted.order}`, wanted.offset ? `offset=${wanted.offset}` : ""];
  history.replaceState(null, "", `${location.pathname}#${parts.filter(Boolean).join("&")}`);
}

const counted = (number) => number.toLocaleString("en");
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

function start() {
  document.title = `Similar frames of ${recording}`;
  byId("title").textContent = `${recording}: similar frames`;
  byId("review-link").href = page;
  const given = new URLSearchParams(location.hash.slice(1));
  for (const name of NAMES) if (given.get(name)) wanted[name] = given.get(name);
  if (given.get("order") === "time") wanted.order = "time";
  wanted.offset = Number.parseInt(given.get("offset") || "0", 10) || 0;
  byId("order").value = wanted.order;
  for (const name of NAMES) {
    for (const input of [byId(name), byId(`${name}-number`)]) {
      input.addEventListener("input", () => {
        if (input.value === "" || !input.checkValidity()) return;
        const values = { ...wanted, [name]: input.value };
        (input.type === "range" ? byId(`${name}-number`) : byId(name)).value = input.value;
        Object.assign(wanted, values, { offset: 0 });
        remember();
        show();
      });
    }
  }
  byId("order").addEventListener("change", () => { Object.assign(wanted, { order: byId("order").value, offset: 0 }); remember(); show(); });
  for (const [name, direction] of [["back", -1], ["forward", 1]]) {
    for (const each of document.querySelectorAll(`.${name}`)) {
      each.addEventListener("click", () => {
        wanted.offset = Math.max(0, wanted.offset + direction * shown.rows);
        remember();
        show().then(() => byId("bar").scrollIntoView({ block: "nearest" }));
      });
    }
  }
  show();
}

start();
