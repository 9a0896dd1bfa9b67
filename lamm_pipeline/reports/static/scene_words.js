// How facts of scenes are told, for the library and for the page of one scene.

import { element } from "./http.js";

export const STATUS = { unlabelled: "Unlabelled", in_progress: "In progress", in_review: "In review", labelled: "Labelled" };

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const count = (value) => (value === null || value === undefined ? "unknown" : whole.format(value));
export const about = (value) => (value === null || value === undefined ? "" : short.format(value));

export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(bytes, 1)) / 3)));
  return `${(bytes / 1000 ** step).toFixed(step ? 1 : 0)} ${units[step]}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** A place with a link to a map, which nothing is asked of until somebody follows it. */
export function place(latitude, longitude, words) {
  const at = `${latitude.toFixed(5)}/${longitude.toFixed(5)}`;
  const href = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}#map=17/${at}`;
  return element("a", { href, target: "_blank", rel: "noopener noreferrer", title: "Opens openstreetmap.org" }, words || `${latitude.toFixed(5)}, ${longitude.toFixed(5)}`);
}

export function chips(words, kind = "") {
  return words.map((word) => element("span", { class: `chip ${kind}` }, word));
}

export function uncertainty(value) {
  if (value === null || value === undefined) return element("span", { class: "quiet" }, "none");
  return element("span", { class: "uncertainty" }, element("span", { class: "scale", "aria-hidden": "true" }, element("span", { style: { width: `${Math.round(Math.min(1, Math.max(0, value)) * 100)}%` } })), value.toFixed(3));
}
