// The list of dataset versions with their downloads.

import { byId, element, get } from "./http.js";

let offset = 0;

async function show() {
  let found;
  try {
    found = await get(`/api/datasets?offset=${offset}`);
  } catch (error) {
    byId("message").textContent = error.message;
    return;
  }
  document.querySelector("tbody").replaceChildren(...found.datasets.map(row));
  byId("datasets").hidden = found.total === 0;
  byId("message").textContent = found.total ? "" : "There are no dataset versions yet: make one with lamm dataset create.";
  byId("paging").hidden = found.total <= found.rows;
  byId("range").textContent = `${offset + 1} to ${offset + found.datasets.length} of ${found.total}`;
  byId("back").disabled = offset === 0;
  byId("forward").disabled = offset + found.rows >= found.total;
  byId("back").onclick = () => { offset = Math.max(0, offset - found.rows); show(); };
  byId("forward").onclick = () => { offset += found.rows; show(); };
}

function row(each) {
  const links = each.formats.flatMap(({ format, bytes }) => {
    const href = `/datasets/${encodeURIComponent(each.version)}/${format}.zip`;
    return [element("a", { href, download: true }, format), ` ${(bytes / 1e6).toFixed(1)} MB `];
  });
  return element("tr", {},
    element("th", { scope: "row" }, each.version),
    element("td", { "data-label": "Title" }, each.title),
    element("td", { "data-label": "Created" }, `${each.created_at} by ${each.created_by}`),
    element("td", { "data-label": "Download" }, ...(links.length ? links : [element("span", { class: "quiet" }, "not exported yet")])));
}

show();
