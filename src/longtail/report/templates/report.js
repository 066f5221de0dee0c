// Draws a chart when it comes into view, follows the colour scheme, and hands out tables as CSV.
// Without this script the page shows each chart as a picture.

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const views = new Map();

function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, soft, line] = ["--ink", "--soft", "--line"].map((v) => style.getPropertyValue(v).trim());
  const font = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
  return {
    background: "transparent",
    font,
    title: { color: ink },
    text: { color: ink },
    view: { stroke: null },
    axis: { labelColor: soft, titleColor: soft, gridColor: line, domainColor: soft,
            tickColor: soft, labelFontSize: 11, titleFontSize: 12, labelOverlap: true },
    axisX: { titleLimit: Math.max(200, window.innerWidth - 150) },
    legend: { labelColor: ink, titleColor: soft, labelFontSize: 12 },
    header: { labelColor: ink, titleColor: ink },
  };
}

// Room beside the plot itself for an axis with its labels.
const BESIDE = 74;

function fitted(spec, room) {
  const own = structuredClone(spec);
  const row = own.hconcat || own.concat;
  if (row) {
    const together = Math.min(row.length, own.columns || row.length);
    const wide = room / together - BESIDE - 10 >= 190;
    if (!wide) { delete own.hconcat; delete own.concat; delete own.columns; own.vconcat = row; }
    for (const part of row) {
      if (typeof part.width === "number") {
        part.width = Math.min(part.width * 1.15, (wide ? room / together : room) - BESIDE - 10);
      }
    }
  } else if (own.vconcat) {
    for (const part of own.vconcat) part.width = Math.min(640, room - BESIDE - 30);
  } else {
    own.width = Math.min(720, room);
    own.autosize = { type: "fit-x", contains: "padding" };
  }
  // The specification's own settings stay, but where they are of one colour scheme.
  const settings = theme();
  for (const [key, value] of Object.entries(own.config || {})) {
    settings[key] = { ...(settings[key] || {}), ...value };
  }
  settings.view = { stroke: null };
  own.config = settings;
  return own;
}

async function draw(box) {
  const figure = box.closest("figure");
  const spec = fitted(read(`spec-${box.dataset.chart}`), figure.clientWidth);
  views.get(box)?.finalize();
  const target = document.createElement("div");
  box.replaceChildren(target);
  box.hidden = false;
  try {
    // `ast`: expressions are interpreted, so that the page's policy need not allow eval.
    views.set(box, await window.vegaEmbed(target, spec, {
      mode: "vega-lite", ast: true, logLevel: 1, renderer: box.dataset.renderer, tooltip: { theme: dark.matches ? "dark" : "light" },
      actions: { export: { svg: true, png: true }, source: false, compiled: false, editor: false },
      downloadFileName: box.dataset.chart,
    }));
  } catch (error) {
    box.hidden = true; // the picture takes its place
    console.error(`${box.dataset.chart}: ${error}`);
  }
}

const boxes = [...document.querySelectorAll("[data-chart]")];
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    draw(entry.target.querySelector("[data-chart]"));
  }
}, { rootMargin: "300px" });
for (const box of boxes) seen.observe(box.closest("figure"));

const redraw = () => { for (const box of views.keys()) draw(box); };
dark.addEventListener("change", redraw);
let width = window.innerWidth;
let waiting;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return; // a phone's address bar comes and goes
  width = window.innerWidth;
  clearTimeout(waiting);
  waiting = setTimeout(redraw, 200);
});

function cell(value) {
  if (value === null) return "";
  let text = Array.isArray(value) ? value.join("; ") : String(value);
  // A spreadsheet would take such a name for a formula.
  if (typeof value !== "number" && text.length > 1 && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

for (const button of document.querySelectorAll("button.csv")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const table = read(`table-${button.dataset.table}`);
    const text = [table.columns, ...table.rows].map((row) => row.map(cell).join(",")).join("\r\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff", text, "\r\n"], { type: "text/csv" }));
    link.download = `${button.dataset.table}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });
}
