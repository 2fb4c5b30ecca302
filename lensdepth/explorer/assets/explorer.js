"use strict";
// What the browser does by itself: it paints figures in the page's colours, turns clicks into
// sites, remembers this tab's experiments, and saves figures.
(() => {
  const drawn = {};  // data as they came from the server, in light colours, and how to draw, by card
  let shift = false;
  const slider = { waits: null, asked: null, at: 0 };  // what a slider that is held asked last
  let held = false;

  // While a poke is at work the slider's newest value waits, and none of those before.
  function askLive() {
    const lost = Date.now() - slider.at > 10000;
    if (slider.waits === null || (slider.asked !== null && !lost)) return;
    Object.assign(slider, { asked: slider.waits, waits: null, at: Date.now() });
    window.dash_clientside.set_props("live", { data: slider.asked });
  }

  const withoutNote = (query) => {
    const parts = new URLSearchParams(query);
    parts.delete("note");
    return parts.toString();
  };

  // The newest entries that one request can hold.
  function bounded(entries) {
    const all = entries.slice(-200);
    let size = all.reduce((sum, entry) => sum + entry.query.length, 0);
    while (size > 4e5 && all.length > 1) size -= all.shift().query.length;
    return all;
  }

  const analysis = { ticket: null, asked: null, at: 0 };  // the one that this page waits for
  document.addEventListener("pointerdown", (event) => { shift = event.shiftKey; }, true);

  // As plotting.depth_ticks in Python, with as many labels as the width has room for.
  function thinTicks(layout, width) {
    const { n_layers: layers, scale, labels } = layout.meta ?? {};
    if (layers === undefined) return;
    const most = Math.max(3, Math.min(12, Math.floor((width - 90) / 46)));
    const step = Math.max(1, Math.ceil(layers / most));
    const keep = new Set([0, layers]);
    for (let d = step; d < layers - Math.floor(step / 2); d += step) keep.add(d);
    const at = [...keep].sort((a, b) => a - b);
    for (const name of Object.keys(layout).filter((key) => key.startsWith("xaxis"))) {
      layout[name].tickvals = at.map((d) => d * scale);
      layout[name].ticktext = at.map((d) => labels[d]);
    }
  }

  // A row of keys that does not fit beside its heading goes below it, a few to a line.
  function breakHeadings(layout, width) {
    const gap = layout.meta?.keys_after;
    let broken = false;
    if (gap === undefined) return broken;
    for (const note of layout.annotations ?? []) {
      const [heading, keys] = note.text.split(`</b>${gap}`);
      if (keys === undefined) continue;
      const length = note.text.replace(/<[^>]*>/g, "").length;
      if (length * 7 > width - 60) {
        note.text = `${heading}</b><br>${keys}`;
        broken = true;
      }
    }
    return broken;
  }

  function coloured(figure, dark, map) {
    if (!dark) return structuredClone(figure);
    const pattern = new RegExp(
      Object.keys(map).map((colour) => colour.replace(/[()]/g, "\\$&")).join("|"), "gi");
    const text = JSON.stringify(figure).replace(
      pattern, (colour) => map[colour] ?? map[colour.toUpperCase()] ?? colour);
    return JSON.parse(text);
  }

  // A part of a card, by the id that Dash writes for it.
  const partOf = (type, name) => document.getElementById(JSON.stringify({ name, type })) ??
    document.getElementById(JSON.stringify({ type, name }));

  function element(kind, children, more = {}) {
    const made = Object.assign(document.createElement(kind), more);
    made.append(...children);  // texts become text, never markup
    return made;
  }

  // Room for a line of keys below each heading, where headings have any.
  function widthOf(id) {
    const box = partOf("graph", id.name)?.closest(".card");
    return box?.clientWidth ? box.clientWidth - 40 : Math.min(window.innerWidth - 80, 900);
  }

  // What is left of the window below the top of a figure, where the page has two columns.
  function roomFor(id) {
    const top = partOf("graph", id.name)?.getBoundingClientRect().top;
    if (!top || window.innerWidth <= 1024) return Infinity;
    return window.innerHeight - (top + window.scrollY) - 14;
  }

  // Lower rows with smaller words, down to what can be read.
  function fitInto(figure, room) {
    const { layout } = figure;
    const rows = layout.yaxis?.tickvals?.length;
    layout.margin.b = Math.min(layout.margin.b, 62);
    if (!rows || layout.height <= room) return;
    const around = layout.margin.t + layout.margin.b;
    const row = Math.max(14, (room - around) / rows);
    layout.height = Math.min(layout.height, around + rows * row);
    const size = Math.min(12, row - 3.5);
    for (const trace of figure.data) if (trace.textfont) trace.textfont.size = size;
    layout.yaxis.tickfont = { ...layout.yaxis.tickfont, size };
  }

  // The depths of a map stay in sight while its tokens are scrolled along below them.
  function fixDepths(id, layout) {
    const scroll = partOf("graph", id.name)?.closest(".plot-scroll");
    const { tickvals, ticktext } = layout.yaxis ?? {};
    scroll?.querySelector(".depths")?.remove();
    if (!scroll || !tickvals || !(layout.annotations ?? []).some((n) => n.name === "y_title")) return;
    const { t: top, b: bottom, l: left } = layout.margin;
    const row = (layout.height - top - bottom) / tickvals.length;
    const labels = ticktext.map((text, i) => {
      const [depth, share] = text.replace(/<[^>]*>/g, "").split("·");
      const label = element("div", [depth, element("span", [share ? `·${share}` : ""])]);
      label.style.top = `${(tickvals.length - 1 - i) * row}px`;
      label.style.height = label.style.lineHeight = `${row}px`;
      return label;
    });
    const axis = element("div", labels, { className: "depths", ariaHidden: "true" });
    const size = layout.yaxis.tickfont?.size ?? 13;
    axis.style.cssText = `width: ${left - 4}px; height: ${row * tickvals.length}px;` +
      `margin-top: ${-(row * tickvals.length + bottom)}px; margin-bottom: ${bottom}px;` +
      `font-size: ${size}px`;
    scroll.append(axis);
  }

  // What was chosen is scrolled into sight, once: after that people scroll as they like.
  const sought = {};
  function seek(id, layout, tries = 40) {
    const frame = (layout.shapes ?? []).find((shape) => shape.line?.width === 2.5);
    const key = frame && `${frame.x0} ${frame.x1} ${layout.xaxis.ticktext.length}`;
    if (!frame || (tries === 40 && sought[id.name] === key)) return;
    sought[id.name] = key;
    const plot = partOf("graph", id.name)?.querySelector(".js-plotly-plot");
    const there = plot?._fullLayout?.xaxis;
    if (there?.ticktext?.length !== layout.xaxis.ticktext.length) {
      if (tries > 0) setTimeout(() => seek(id, layout, tries - 1), 50);
      return;
    }
    const scroll = plot.closest(".plot-scroll");
    const [from, to] = [frame.x0, frame.x1].map((x) => there._offset + there.d2p(x));
    if (from - layout.margin.l < scroll.scrollLeft) scroll.scrollLeft = from - layout.margin.l - 12;
    if (to > scroll.scrollLeft + scroll.clientWidth) scroll.scrollLeft = to - scroll.clientWidth + 12;
  }

  window.dash_clientside = window.dash_clientside ?? {};
  window.dash_clientside.lensdepth = {
    draw(data, dark, id) {
      const { no_update: still } = window.dash_clientside;
      if (!data?.figure) return [still, still];
      drawn[id.name] = { data, dark, id };
      const figure = coloured(data.figure, theme() === "dark", dark);
      const layout = figure.layout;
      const width = Math.max(widthOf(id), 300);
      const least = layout.width ?? 0;
      delete layout.width;
      layout.autosize = true;
      // The card's own heading says what it is.
      const titled = layout.title?.text;
      if (titled) layout.title = { text: "" };
      // The card says in words what the band is.
      layout.annotations = (layout.annotations ?? []).filter((note) => note.name !== "zone");
      const notes = layout.annotations.length > 0;
      const legend = layout.showlegend !== false && layout.legend?.yanchor === "bottom";
      const before = layout.margin?.t ?? 60;
      const broken = breakHeadings(layout, width);
      const top = legend || broken ? 54 : notes ? 36 : 16;
      layout.margin = { ...layout.margin, t: top };
      layout.height = (layout.height ?? 450) - (before - top);
      layout.paper_bgcolor = "rgba(0,0,0,0)";
      layout.plot_bgcolor = "rgba(0,0,0,0)";
      layout.uirevision = "kept";
      const moves = data.click?.kind === "move";
      if (moves) layout.dragmode = false;  // dragging is something else here
      if (id.name === "pick" || moves) fitInto(figure, roomFor(id));
      thinTicks(layout, width);
      for (const name of Object.keys(layout).filter((key) => /^[xy]axis/.test(key))) {
        const title = layout[name].title;
        if (title?.text) title.font = { ...title.font, size: 12.5 };
      }
      fixDepths(id, layout);
      seek(id, layout);
      return [figure, { height: `${layout.height}px`, minWidth: least ? `${Math.round(0.72 * least)}px` : 0 }];
    },

    numbers(data, id) {
      const place = partOf("numbers", id.name);
      if (!place) return window.dash_clientside.no_update;
      if (!data) { place.replaceChildren(); return "scroll"; }
      const row = (cells, kind, more) =>
        element("tr", cells.map((cell) => element(kind, [cell], more)));
      place.replaceChildren(
        element("table", [
          element("thead", [row(data.head, "th", { scope: "col" })]),
          element("tbody", data.rows.map((cells) => row(cells, "td"))),
        ]),
        ...(data.note ? [element("p", [data.note], { className: "small" })] : []));
      return "scroll";
    },

    // The table of pairs: its heads sort, its rows open a pair.
    pairs(data) {
      const place = document.getElementById("pair-rows");
      if (!place) return window.dash_clientside.no_update;
      if (!data) { place.replaceChildren(); return "pair-rows"; }
      const tell = (site) => window.dash_clientside.set_props(
        "site", { data: { ...site, at: Date.now() } });
      const head = data.columns.map((column) => {
        if (!column.sorts) return element("th", [column.name], { scope: "col" });
        const by = data.order === column.key;
        const sign = by ? (data.descending ? " ↓" : " ↑") : "";
        const button = element("button", [column.name + sign], {
          className: "sort", type: "button",
          onclick: () => tell({ kind: "sort", column: column.key }) });
        const cell = element("th", [button], { scope: "col" });
        cell.setAttribute("aria-sort", by ? (data.descending ? "descending" : "ascending") : "none");
        return cell;
      });
      const rows = data.rows.map((cells, i) => {
        const open = () => tell({ kind: "pair", row: data.pairs[i] });
        const made = cells.map((cell, j) => {
          const text = j === 1
            ? element("button", [cell], { className: "open", type: "button" }) : cell;
          return element("td", [text]);
        });
        return element("tr", made, { onclick: open });
      });
      place.replaceChildren(
        element("table", [
          element("thead", [element("tr", head)]), element("tbody", rows),
        ]),
        element("p", [data.note], { className: "small" }));
      return "pair-rows full";
    },

    // Cells of Move are taken and put by moves.js.
    click(clicks, data, ids) {
      const { callback_context: context, no_update: still } = window.dash_clientside;
      const asked = context.triggered_id;
      const index = ids.findIndex((id) => id.name === asked?.name);
      const point = clicks[index]?.points?.[0];
      const click = data[index]?.click ?? {};
      if (!point || !click.kind || click.kind === "move") return still;
      const site = { kind: click.kind, shift, at: Date.now() };
      if (click.kind === "cell") Object.assign(site, { row: point.y, column: point.x });
      else if (click.kind === "pair") {
        const rows = data[index].figure.data[point.curveNumber]?.meta?.pairs ?? [];
        Object.assign(site, { row: rows[point.pointIndex] ?? null });
      } else if (click.kind === "curve") {
        const name = data[index].figure.data[point.curveNumber]?.name ?? "";
        const at = ["input", "prediction"].find((word) => name.startsWith(word));
        Object.assign(site, { row: Math.round(point.x), column: at ?? null });
      } else if (click.kind === "node") {
        if (typeof point.customdata !== "string") return still;
        Object.assign(site, { name: point.customdata });
      } else {
        const place = click.columns[point.x];
        const numbered = /^-?\d+$/.test(place) ? Number(place) : place;
        Object.assign(site, { row: click.rows[point.y], column: numbered ?? null });
      }
      return site;
    },

    slide(value, screen) {
      if (!held || screen?.view !== "poke") return;
      const query = new URLSearchParams(screen.query);
      query.set("strength", value);
      slider.waits = `?${query}`;
      askLive();
    },

    poked(outcome) {
      if (outcome?.query === slider.asked) slider.asked = null;
      askLive();
    },

    // The clock runs while there is something to wait for.
    waits(job, done) {
      analysis.ticket = job?.ticket && job.ticket !== done?.ticket ? job.ticket : null;
      return [analysis.ticket ? -1 : 0, !analysis.ticket];
    },

    // One question at a time, or a busy server would never be heard; a lost one is given up.
    ask(n, told) {
      const now = Date.now();
      if (analysis.asked !== null && analysis.asked !== told && now - analysis.at < 10000) {
        return window.dash_clientside.no_update;
      }
      analysis.asked = n;
      analysis.at = now;
      return n;
    },

    remember(screen, outcome, undo, redo, clear, history) {
      // Keep shows the history and is no part of it.
      const kept = screen?.view === "keep";
      const { callback_context: context, no_update: still } = window.dash_clientside;
      const changed = context.triggered.map((item) => item.prop_id.split(".")[0]);
      // What the server needs to find a note again goes with every request, and so is kept small.
      const noted = (all) => ({ entries: all.filter((entry) => entry.note).slice(-30)
        .map(({ query }) => ({ query })) });
      let { entries = [], at = -1, asked = [] } = history ?? {};
      [entries, asked] = [entries, asked].map((all) => all.map((entry) => ({ ...entry })));
      if (changed.includes("history-clear")) {
        entries = entries.slice(at, at + 1);
        asked = entries.map(({ query, label, note }) => ({ query, label, note }));
        return [{ entries, at: entries.length ? 0 : -1, asked }, still, noted(asked)];
      }
      if (changed.includes("undo") || changed.includes("redo")) {
        const to = at + (changed.includes("redo") ? 1 : kept ? 0 : -1);
        if (!entries[to]) return [still, still, still];
        return [{ entries, at: to, asked }, entries[to].query, still];
      }
      if (changed.includes("screen") && screen && !kept && entries[at]?.query !== screen.query) {
        // Back and Forward of the browser move within the history, all else goes on from here.
        const near = [at - 1, at + 1].find((i) => entries[i]?.query === screen.query);
        if (near !== undefined) at = near;
        else if (entries[at] && withoutNote(entries[at].query) === withoutNote(screen.query)) {
          Object.assign(entries[at], screen);  // the same, with another note
        } else {
          entries = bounded([...entries.slice(0, at + 1), { ...screen, text: "" }]);
          at = entries.length - 1;
        }
      }
      if (screen && !kept) {
        // Steps that were undone are no part of the history, but they were asked.
        const { query, label, note } = screen;
        const bare = withoutNote(query);
        const before = asked.find((one) => withoutNote(one.query) === bare);
        if (before) Object.assign(before, { query, note });
        else asked = bounded([...asked, { query, label, note }]);
      }
      if (outcome) {
        for (const entry of entries) {
          if (entry.query === outcome.query) entry.text = outcome.text;
        }
      }
      return [{ entries, at, asked }, still, noted(asked)];
    },
  };

  // A page that is closed wants no more; one that is loaded anew asks again in time.
  window.addEventListener("pagehide", () => {
    if (analysis.ticket) navigator.sendBeacon("/_goodbye", analysis.ticket);
  });

  // A figure that is taken along has the note below it, as text.
  function withNote(layout, note) {
    if (!note.trim()) return;
    const most = Math.max(20, Math.floor(((layout.width ?? 900) - 40) / 7));
    const lines = note.split("\n").flatMap((line) => line.match(
      new RegExp(`.{1,${most}}(?:\\s+|$)|\\S{${most}}`, "gu")) ?? [""]);
    const text = lines.map((line) => line.replace(/&/g, "&amp;").replace(/</g, "&lt;")).join("<br>");
    const bottom = layout.margin?.b ?? 80;
    const more = 18 * lines.length + 12;
    layout.height = (layout.height ?? 500) + more;
    layout.margin = { ...layout.margin, b: bottom + more };
    layout.annotations = [...layout.annotations ?? [], {
      text, xref: "paper", yref: "paper", x: 0, y: 0, yshift: -bottom, xanchor: "left",
      yanchor: "top", align: "left", showarrow: false, font: { size: 12 } }];
  }

  // Light or dark: as the system has it, or as was chosen here last.
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  const chosen = () => {
    try { return localStorage.getItem("lensdepth-theme"); } catch { return null; }
  };
  const theme = () => chosen() ?? (system.matches ? "dark" : "light");
  const tell = () => {
    const now = theme();
    document.documentElement.dataset.theme = now;
    const button = document.getElementById("theme");
    if (button) button.textContent = now === "dark" ? "Light" : "Dark";
    for (const { data, dark, id } of Object.values(drawn)) {
      const [figure, style] = window.dash_clientside.lensdepth.draw(data, dark, id);
      window.dash_clientside.set_props({ type: "graph", name: id.name }, { figure, style });
    }
    return Boolean(button);
  };
  document.documentElement.dataset.theme = theme();
  document.documentElement.lang = "en";
  const started = setInterval(() => { if (tell()) clearInterval(started); }, 60);
  system.addEventListener("change", tell);
  let width = window.innerWidth;
  let waiting = 0;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(tell, 150);
  });

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    for (const note of document.querySelectorAll("details.info[open]")) {
      if (!note.contains(event.target)) note.open = false;
    }
    if (!button) return;
    if (button.id === "theme") {
      try { localStorage.setItem("lensdepth-theme", theme() === "dark" ? "light" : "dark"); }
      catch { /* then the system's choice stays */ }
      tell();
    } else if (button.id === "copy") {
      const text = window.location.href;
      const say = (word) => {
        button.textContent = word;
        setTimeout(() => { button.textContent = "Copy link"; }, 1600);
      };
      if (!navigator.clipboard) return say("It is in the address bar");
      navigator.clipboard.writeText(text).then(() => say("Copied"),
        () => say("It is in the address bar"));
    } else if (button.dataset.figure !== undefined) {
      const figure = structuredClone(drawn[button.dataset.figure]?.data.figure);
      if (!figure) return;
      withNote(figure.layout, document.getElementById("note-text")?.value ?? "");
      Plotly.downloadImage(figure, {
        format: button.dataset.kind, scale: button.dataset.kind === "png" ? 2 : 1,
        width: figure.layout.width ?? 900, height: figure.layout.height ?? 500,
        filename: `lensdepth-${button.dataset.figure}`,
      });
    }
  });
  // What Dash's parts are for those who hear the page: radio buttons are no list of options, a
  // slider has a name, and nothing hidden takes the focus.
  function name() {
    for (const list of document.querySelectorAll(".dash-radioitems[role=listbox]")) {
      list.setAttribute("role", "radiogroup");
      const label = list.closest("[role=group], nav")?.getAttribute("aria-label");
      if (label) list.setAttribute("aria-label", label);
    }
    for (const label of document.querySelectorAll(".dash-radioitems label[role]")) {
      label.removeAttribute("role");
      label.removeAttribute("aria-selected");
    }
    for (const label of document.querySelectorAll(".dash-radioitems label[aria-selected]")) {
      label.removeAttribute("aria-selected");
    }
    for (const part of document.querySelectorAll(".dash-dropdown-focus-target[tabindex='0']")) {
      part.setAttribute("tabindex", "-1");
    }
    for (const part of document.querySelectorAll(
      ".field [role=slider]:not([aria-label]), .field:has([role=slider]) input:not([aria-label])")) {
      part.setAttribute("aria-label", part.closest(".field").querySelector("label").textContent.trim());
    }
  }
  let named = 0;
  new MutationObserver(() => {
    cancelAnimationFrame(named);
    named = requestAnimationFrame(name);
  }).observe(document.documentElement, {
    childList: true, subtree: true, attributes: true,
    attributeFilter: ["role", "aria-selected", "tabindex"],
  });

  // A map that has the focus is walked over with the arrow keys; with Shift it is a range.
  const WALK = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  const walk = { plot: null, frame: null, row: 0, column: 0 };
  document.addEventListener("keydown", (event) => {
    const plot = event.target.closest?.(".plot-scroll")?.querySelector(".js-plotly-plot");
    const move = WALK[event.key];
    const frame = plot?.layout?.shapes?.find((shape) => shape.line?.width === 2.5);
    if (!move || !frame || plot.closest(".movable") || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const rows = plot.layout.yaxis.tickvals.length;
    const columns = plot.layout.xaxis.tickvals.length;
    // Until the map is drawn anew the last step counts, and not the frame.
    if (walk.plot !== plot || walk.frame !== frame) {
      Object.assign(walk, { plot, frame, row: frame.y1 - 0.5, column: frame.x1 - 0.5 });
    }
    walk.row = Math.min(Math.max(walk.row + move[0], 0), rows - 1);
    walk.column = Math.min(Math.max(walk.column + move[1], 0), columns - 1);
    window.dash_clientside.set_props("site", { data: {
      kind: "cell", shift: event.shiftKey, row: walk.row, column: walk.column, at: Date.now() } });
  });

  // A slider is held by the pointer, or by keys; what it says meanwhile is not read aloud.
  const hold = (event, now) => {
    if (now && !event.target.closest?.(".field-strength")) return;
    held = now;
    if (!now) slider.waits = slider.asked = null;
    document.getElementById("poke-said")?.setAttribute("aria-busy", String(now));
  };
  document.addEventListener("pointerdown", (event) => hold(event, true), true);
  document.addEventListener("keydown", (event) => hold(event, true), true);
  for (const end of ["pointerup", "pointercancel", "keyup"]) {
    document.addEventListener(end, (event) => hold(event, false), true);
  }

  // Numbers that changed are lit for a moment.
  const shown = new Map();
  const light = (place) => {
    const before = new Map(shown);
    shown.clear();
    for (const cell of place.querySelectorAll("td strong, td b")) {
      const row = cell.closest("tr").rowIndex;
      const key = `${row} ${cell.closest("td").cellIndex}`;
      shown.set(key, cell.textContent);
      if (!before.has(key) || before.get(key) === cell.textContent) continue;
      cell.classList.remove("changed");
      void cell.offsetWidth;  // begins anew
      cell.classList.add("changed");
    }
  };
  const watched = setInterval(() => {
    const place = document.getElementById("scopes");
    if (!place) return;
    clearInterval(watched);
    new MutationObserver(() => light(place)).observe(
      place, { childList: true, subtree: true, characterData: true });
  }, 60);

  // A slider takes the number in its box when the box is left: Enter leaves it.
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.closest?.(".field-strength") &&
      event.target.tagName === "INPUT") setTimeout(() => event.target.blur(), 0);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const note of document.querySelectorAll("details.info[open]")) {
      note.open = false;
      note.querySelector("summary").focus();
    }
  });
})();
