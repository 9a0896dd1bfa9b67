// Shows a scene in Rerun's web viewer, and opens it at the frame that the address asks for.

import { byId, element, get } from "./http.js";

const recording = decodeURIComponent(location.pathname.split("/")[2]);
const key = encodeURIComponent(recording);

const AGAIN_MS = 250;
let wanted = null;

/** A field of a protocol buffer that holds these bytes, of which there are fewer than 128. */
const field = (number, bytes) => [(number << 3) | 2, bytes.length, ...bytes];

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return [...bytes, value];
}

/** `ViewerControlRequest` with a `SetTimeCursorRequest` of Rerun 0.41: timeline and time; the viewer pauses there. */
function seekRequest(timeline, frame) {
  const name = field(1, new TextEncoder().encode(timeline));
  return new Uint8Array(field(6, [...field(2, name), ...field(3, [1 << 3, ...varint(frame)])]));
}

/** Put the time cursor on a frame, as soon as the recording has come. */
async function seek(viewer, timeline, frame) {
  wanted = frame;
  while (wanted === frame) {
    try {
      await viewer.viewer_control(seekRequest(timeline, frame));
      return;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }
}

function wantedFrame() {
  const given = new URLSearchParams(location.search).get("frame");
  return given !== null && /^\d{1,15}$/.test(given) ? Number(given) : null;
}

function loaded(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error("Rerun's viewer cannot be loaded. The report server's log says why.")));
    document.head.append(script);
  });
}

/** The viewer would look for news and count its uses elsewhere. The page's policy forbids it; so it need not even try. */
function stayHere() {
  const ask = window.fetch.bind(window);
  window.fetch = (what, options) => {
    const { origin } = new URL(what instanceof Request ? what.url : what, location.href);
    return origin === location.origin ? ask(what, options) : Promise.resolve(new Response(null, { status: 204 }));
  };
}

async function start(scene) {
  stayHere();
  await loaded(`${scene.viewer}/re_viewer.js`);
  await wasm_bindgen({ module_or_path: `${scene.viewer}/re_viewer_bg.wasm` });
  const url = new URL(scene.scene, location.href).href;
  const viewer = new wasm_bindgen.WebHandle({ url, theme: "dark", hide_welcome_screen: true, persist: false, enable_history: false });
  byId("scene").hidden = false;
  await viewer.start(byId("scene"));
  return viewer;
}

function tell(scene) {
  const { about } = scene;
  const facts = [`${about.frames} of ${about.recording_frames} frames`, `${about.megabytes.toFixed(1)} MB`];
  const told = [...(scene.note ? [scene.note.replaceAll("`", "")] : []), ...facts, ...about.thinned];
  byId("facts").textContent = told.join(" · ");
  byId("facts").title = [...told, ...about.missing].join("\n");
  const classes = new Map(about.evaluations.flatMap((each) => each.classes).map((each) => [each.name, each.color]));
  byId("classes").replaceChildren(...[...classes].flatMap(([name, color]) => [element("span", { class: "swatch", style: { background: color } }), name]));
  byId("classes").title = "Colours of the classes in the tabs Prediction and Truth";
}

function watch(viewer) {
  if (viewer.has_panicked()) fail(new Error("Rerun's viewer has crashed. Reload the page to start it again."));
  else setTimeout(() => watch(viewer), 1000);
}

function fail(error) {
  byId("scene").hidden = true;
  byId("status").hidden = false;
  byId("status").textContent = error.message;
}

document.title = `${recording}: scene`;
byId("title").textContent = recording;
byId("title").href = `/scenes/${key}`;
byId("review-link").href = `/recordings/${key}`;
byId("frame").value = wantedFrame() ?? "";

try {
  const scene = await get(`/api/scenes/${key}`);
  tell(scene);
  const viewer = await start(scene);
  byId("status").hidden = true;
  byId("jump").addEventListener("submit", (event) => {
    event.preventDefault();
    const frame = byId("frame").valueAsNumber;
    history.replaceState(null, "", `?frame=${frame}`);
    seek(viewer, scene.timeline, frame);
  });
  if (wantedFrame() !== null) seek(viewer, scene.timeline, wantedFrame());
  watch(viewer);
  window.rerunViewer = viewer; // for tests and for people at the console
} catch (error) {
  fail(error instanceof Error ? error : new Error(String(error)));
}
