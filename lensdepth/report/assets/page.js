"use strict";
// Draws each figure from its JSON, in the page's colours, at the page's width, and for print.
(() => {
  const darkPage = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = JSON.parse(document.getElementById("page-settings").textContent).dark;
  const lightColour = new RegExp(
    Object.keys(dark).map((c) => c.replace(/[()]/g, "\\$&")).join("|"), "gi");
  const plots = [...document.querySelectorAll(".plot")];
  const hidden = new Map(plots.map((plot) => [plot.id, new Set()]));
  const PRINT_WIDTH = 650;
  const PRINT_HEIGHT = 730;
  let printing = false;

  // As plotting.depth_ticks in Python, with as many labels as the width has room for.
  function thinTicks(layout, width) {
    const { n_layers: layers, scale, labels } = layout.meta;
    if (layers === undefined) return;  // no axis of depths
    const most = Math.max(3, Math.min(12, Math.floor((width - 90) / 46)));
    const step = Math.max(1, Math.ceil(layers / most));
    const keep = new Set([0, layers]);
    for (let d = step; d < layers - Math.floor(step / 2); d += step) keep.add(d);
    for (const name of Object.keys(layout).filter((key) => key.startsWith("xaxis"))) {
      const axis = layout[name];
      const at = [...keep].sort((a, b) => a - b);
      axis.tickvals = at.map((d) => d * scale);
      axis.ticktext = at.map((d) => labels[d]);
    }
  }

  function breakHeadings(layout, width) {
    if (width > 560) return;
    for (const note of layout.annotations ?? []) {
      if (layout.meta.keys_after === undefined) return;
      note.text = note.text.replace(`</b>${layout.meta.keys_after}`, "</b><br>");
    }
  }

  function figureOf(plot, light) {
    let text = document.getElementById(plot.dataset.json).textContent;
    if (!light) text = text.replace(lightColour, (c) => dark[c] ?? dark[c.toUpperCase()] ?? c);
    const figure = JSON.parse(text);
    for (const trace of figure.data) {
      if (hidden.get(plot.id).has(trace.legendgroup)) trace.visible = false;
    }
    return figure;
  }

  function draw(plot) {
    if (!printing && plot.clientWidth === 0) return;  // folded away
    const figure = figureOf(plot, printing || !darkPage.matches);
    const width = printing ? PRINT_WIDTH : plot.clientWidth;
    if (printing) {
      figure.layout.height = Math.max(300, Math.min(0.78 * figure.layout.height, PRINT_HEIGHT));
    }
    plot.style.height = `${figure.layout.height}px`;
    thinTicks(figure.layout, width);
    breakHeadings(figure.layout, width);
    figure.layout.width = width;
    Plotly.react(plot, figure.data, figure.layout, { displayModeBar: false, scrollZoom: false });
  }

  const drawAll = () => plots.forEach(draw);
  darkPage.addEventListener("change", drawAll);
  let width = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 120);
  });
  for (const fold of document.querySelectorAll("details")) {
    fold.addEventListener("toggle", () => fold.querySelectorAll(".plot").forEach(draw));
  }
  window.addEventListener("beforeprint", () => { printing = true; drawAll(); });
  window.addEventListener("afterprint", () => { printing = false; drawAll(); });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.group !== undefined) {
      const plot = document.getElementById(button.dataset.plot);
      const shown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!shown));
      if (shown) hidden.get(plot.id).add(button.dataset.group);
      else hidden.get(plot.id).delete(button.dataset.group);
      draw(plot);
    } else if (button?.dataset.save !== undefined) {
      const plot = document.getElementById(button.dataset.save);
      const figure = figureOf(plot, true);
      const layout = figure.layout;
      const { title, legend, margin, height, width } = layout.meta;
      Object.assign(layout, { title, margin, height, showlegend: legend });
      for (const note of layout.annotations ?? []) note.visible = true;
      thinTicks(layout, width ?? 900);
      Plotly.downloadImage(figure, {
        format: "svg", width: width ?? 900, height: layout.height,
        filename: button.dataset.save.replace("-plot", ""),
      });
    }
  });
  drawAll();
})();
