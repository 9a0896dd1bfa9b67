// How unsure models are over the frames of a scene: a plot by Plotly, in which a click on a point opens its frame.

import { byId, element } from "./http.js";

const COLORS = ["#3b82f6", "#e07b00", "#16a34a", "#dc2626", "#8b5cf6", "#0891b2", "#db2777", "#7a8b00"];
const WITH_MARKERS = 1500; // known scores up to which each has a marker; beyond, only the highest
const PANEL = 190;
const BESIDE_PANELS = 100;

export const kindName = (kind) => kind.replace(/_mean$/, "").replaceAll("_", " ");
export const frameLink = (path, frame) => `/scenes/${path}/view?frame=${frame}`;
export const reviewLink = (path, frame) => `/recordings/${path}#frame=${frame}`;

/** Draw the timeline into `#plot`; `open` is called with the frame whose point is clicked. */
export async function drawTimeline(found, marked, open) {
  await loaded(found.plot);
  const kinds = [...new Set(found.series.map((each) => each.kind))];
  const evaluations = [...new Set(found.series.map((each) => each.evaluation))];
  const plot = byId("plot");
  const height = kinds.length * PANEL + BESIDE_PANELS;
  plot.style.height = `${height}px`;
  const traces = found.series.flatMap((each) => lines(found, each, kinds.indexOf(each.kind), colorOf(evaluations.indexOf(each.evaluation))));
  const draw = () => layout(found, kinds, marked, height, byId("axis").value === "seconds");
  await Plotly.newPlot(plot, traces, draw(), { displayModeBar: false, showTips: false, responsive: true, doubleClick: "autosize" });
  byId("legend").replaceChildren(...evaluations.map((evaluation, number) => entry(found, traces, evaluation, colorOf(number))));
  plot.on("plotly_click", ({ points }) => open(points[0].customdata));
  byId("axis").addEventListener("change", () => {
    const places = byId("axis").value === "seconds" ? found.seconds : found.frames;
    Plotly.update(plot, { x: traces.map((trace) => trace.places.map((place) => places[place])) }, draw());
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => Plotly.relayout(plot, draw()));
}

const colorOf = (number) => COLORS[number % COLORS.length];

/** An evaluation in the legend, which shows and hides its lines. */
function entry(found, traces, evaluation, color) {
  const { model_id } = found.series.find((each) => each.evaluation === evaluation);
  const own = traces.map((trace, number) => number).filter((number) => traces[number].evaluation === evaluation);
  const box = element("input", { type: "checkbox", checked: true, onchange: () => Plotly.restyle(byId("plot"), { visible: box.checked }, own) });
  return element("label", {}, box, element("span", { class: "swatch", style: { background: color } }), evaluation, " ", element("span", { class: "quiet" }, model_id));
}

/** The line of an evaluation and kind of score, and markers on its highest frames. */
function lines(found, series, panel, color) {
  const known = series.scores.map((score, place) => place).filter((place) => series.scores[place] !== null);
  const highest = found.top.filter((each) => each.evaluation === series.evaluation && each.score_kind === series.kind).map((each) => found.frames.indexOf(each.frame_index));
  const common = {
    type: "scatter", xaxis: "x", yaxis: panel ? `y${panel + 1}` : "y", evaluation: series.evaluation,
    hovertemplate: `frame %{customdata}, %{text} s<br>${kindName(series.kind)} %{y:.4f}<br>${plain(series.evaluation)}: ${plain(series.model_id)}<extra></extra>`,
  };
  const values = (places) => ({
    places, x: places.map((place) => found.frames[place]), y: places.map((place) => series.scores[place]),
    customdata: places.map((place) => found.frames[place]), text: places.map((place) => found.seconds[place].toFixed(2)),
  });
  return [
    { ...common, ...values(found.frames.map((_, place) => place)), mode: known.length > WITH_MARKERS ? "lines" : "lines+markers", line: { color, width: 1.5 }, marker: { size: 4, color } },
    { ...common, ...values(highest.filter((place) => place >= 0)), mode: "markers", marker: { size: 9, color, line: { width: 1.5, color: style("--card") } } },
  ];
}

function layout(found, kinds, marked, height, seconds) {
  const axis = { gridcolor: style("--line"), zerolinecolor: style("--line"), linecolor: style("--line") };
  const share = 1 / kinds.length;
  const panels = kinds.map((kind, number) => [
    number ? `yaxis${number + 1}` : "yaxis",
    { ...axis, title: { text: kindName(kind), standoff: 8 }, rangemode: "tozero", fixedrange: true, nticks: 5, automargin: true, domain: [1 - (number + 1) * share + (number < kinds.length - 1 ? 0.06 : 0), 1 - number * share] },
  ]);
  return {
    height, autosize: true, margin: { l: 52, r: 10, t: 8, b: 40 }, hovermode: "closest", hoverdistance: 40, dragmode: "zoom",
    paper_bgcolor: style("--card"), plot_bgcolor: style("--card"), font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: style("--text") },
    hoverlabel: { align: "left", bgcolor: style("--card"), font: { color: style("--text") } }, showlegend: false,
    xaxis: { ...axis, title: { text: seconds ? "Seconds from the first frame" : "Frame" }, anchor: kinds.length > 1 ? `y${kinds.length}` : "y", rangeslider: { thickness: 0.12, bgcolor: style("--page"), bordercolor: style("--line"), borderwidth: 1 } },
    shapes: marks(found, marked, seconds),
    ...Object.fromEntries(panels),
  };
}

/** A line at the frame that the address names. */
function marks(found, marked, seconds) {
  const place = found.frames.indexOf(marked);
  if (place < 0) return [];
  const x = seconds ? found.seconds[place] : marked;
  return [{ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: style("--soft"), width: 1.5, dash: "dot" } }];
}

/** Plotly reads tags and entities in texts; names are shown as they are. */
const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("%{", "% {");

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function loaded(address) {
  const { head } = document;
  // as it loads it appends inline styles for maps; the policy forbids them, and there are no maps here
  const append = head.appendChild;
  head.appendChild = (child) => (child.tagName === "STYLE" ? child : append.call(head, child));
  return new Promise((resolve, reject) => {
    const script = element("script", { src: address });
    script.addEventListener("load", () => { delete head.appendChild; resolve(); });
    script.addEventListener("error", () => reject(new Error("The timeline cannot be drawn: Plotly cannot be loaded. The table has the most uncertain frames.")));
    document.head.append(script);
  });
}
