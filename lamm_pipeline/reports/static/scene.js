// Shows a scene in Rerun's web viewer, and opens it at the frame that the address asks for.

import { byId, get } from "./http.js";

const recording = decodeURIComponent(location.pathname.split("/")[2]);
const key = encodeURIComponent(recording);

/** What the viewer opens to put its time cursor on a frame; documented at rerun.io/docs/reference/viewer/urls. */
function frameUrl(scene, frame) {
  const query = new URLSearchParams({ app_id: scene.application, recording_id: recording });
  return `about:recording?${query}#when=${scene.timeline}@${frame}`;
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

async function start(scene) {
  await loaded(`${scene.viewer}/re_viewer.js`);
  await wasm_bindgen({ module_or_path: `${scene.viewer}/re_viewer_bg.wasm` });
  const frame = wantedFrame();
  const url = [new URL(scene.scene, location.href).href];
  if (frame !== null) url.push(frameUrl(scene, frame));
  const viewer = new wasm_bindgen.WebHandle({ url, hide_welcome_screen: true, persist: false, enable_history: false });
  byId("viewer").hidden = false;
  await viewer.start(byId("viewer"));
  return viewer;
}

function tell(scene) {
  const { about } = scene;
  const facts = [`${about.frames} of ${about.recording_frames} frames`, `${about.megabytes.toFixed(1)} MB`];
  byId("facts").textContent = [...facts, ...about.thinned].join(" · ");
  byId("facts").title = [...about.thinned, ...about.missing].join("\n");
}

function watch(viewer) {
  if (viewer.has_panicked()) fail(new Error("Rerun's viewer has crashed. Reload the page to start it again."));
  else setTimeout(() => watch(viewer), 1000);
}

function fail(error) {
  byId("viewer").hidden = true;
  byId("status").hidden = false;
  byId("status").textContent = error.message;
}

document.title = `${recording}: scene`;
byId("title").textContent = recording;
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
    viewer.add_receiver(frameUrl(scene, frame));
  });
  watch(viewer);
  window.viewer = viewer;
} catch (error) {
  fail(error instanceof Error ? error : new Error(String(error)));
}
