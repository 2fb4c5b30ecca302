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

  // A heading and the keys behind it take as many lines as they need at this width.
  const pen = document.createElement("canvas").getContext("2d");
  function breakHeadings(layout, width) {
    const gap = layout.meta.keys_after;
    if (gap === undefined) return;
    pen.font = `12.5px ${layout.font?.family ?? "sans-serif"}`;
    const long = (html) => pen.measureText(html.replace(/<[^>]*>/g, "")).width * 1.06;
    let most = 2;
    for (const note of layout.annotations ?? []) {
      const [heading, keys] = note.text.split(`</b>${gap}`);
      const room = width - 20;
      if (keys === undefined || long(note.text) <= room) continue;
      const lines = [`${heading}</b>`];
      for (const key of keys.split("\u2002")) {
        const last = lines.length - 1;
        const both = `${lines[last]}\u2002${key}`;
        if (last > 0 && long(both) <= room) lines[last] = both;
        else lines.push(key);
      }
      note.text = lines.join("<br>");
      most = Math.max(most, lines.length);
    }
    layout.margin.t += 17 * (most - 2);
    layout.height += 17 * (most - 2);
  }

  // Titles of axes side by side, in two lines where they would meet.
  function breakTitles(layout, width) {
    const axes = Object.keys(layout).filter((key) => key.startsWith("xaxis"));
    for (const { title, domain } of axes.map((key) => layout[key])) {
      const room = width * ((domain?.[1] ?? 1) - (domain?.[0] ?? 0));
      if (!title?.text || room > 240) continue;
      const words = title.text.split(" ");
      const half = Math.ceil(words.length / 2);
      title.text = `${words.slice(0, half).join(" ")}<br>${words.slice(half).join(" ")}`;
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
    thinTicks(figure.layout, width);
    breakHeadings(figure.layout, width);
    breakTitles(figure.layout, width);
    plot.style.height = `${figure.layout.height}px`;
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

  // Contents: open where there is room for it; what a link leads to is unfolded.
  const contents = document.getElementById("contents");
  const wide = window.matchMedia("(min-width: 64.01rem)");
  const fit = () => { contents.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  const parts = [...document.querySelectorAll("details.part")];
  const unfold = document.getElementById("unfold");

  function lead() {
    const to = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (to === null) return;
    const inner = to.querySelector(":scope > details.part");
    if (inner !== null) inner.open = true;
    for (let at = to.closest("details"); at !== null; at = at.parentElement.closest("details")) {
      at.open = true;
    }
    to.querySelectorAll(".plot").forEach(draw);
    to.scrollIntoView();
  }
  window.addEventListener("hashchange", lead);
  for (const part of parts) {
    part.querySelector("summary").addEventListener("click", () => {
      // The address of a section that is opened by hand is the one to send on.
      if (!part.open) history.replaceState(null, "", `#${part.parentElement.id}`);
    });
  }
  unfold.addEventListener("click", () => {
    const open = unfold.getAttribute("aria-pressed") === "false";
    unfold.setAttribute("aria-pressed", String(open));
    unfold.textContent = open ? "Fold all" : "Unfold all";
    for (const part of parts) part.open = open;
  });
  contents.addEventListener("click", (event) => {
    if (event.target.closest("a") === null) return;
    if (!wide.matches) contents.open = false;
    // Also where the address is that of the section already.
    if (event.target.closest("a").hash === location.hash) lead();
  });
  const links = new Map([...contents.querySelectorAll("a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));

  // On paper everything is open but the tables, which lie beside the page.
  let folded = [];
  window.addEventListener("beforeprint", () => {
    printing = true;
    folded = [contents, ...document.querySelectorAll("details:not(.data)")].filter((d) => !d.open);
    for (const fold of folded) fold.open = true;
    drawAll();
  });
  window.addEventListener("afterprint", () => {
    printing = false;
    for (const fold of folded) fold.open = false;
    drawAll();
  });

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
  lead();
})();
