"use strict";
// Move: a cell of a map is put onto another, by dragging, by two clicks, or with the keyboard. All
// three end in one message: which cell was taken and where it was put.
(() => {
  const MAPS = { "base-map": "base", "source-map": "source" };
  const HINT = "Drag a cell onto another, here or there; or click one, then the other; or arrow " +
    "keys and Enter, twice. Solid frame: taken; dotted frame: put.";
  let picked = null;  // a cell that waits for where it is to go
  let drag = null;
  const cursors = {};  // of the keyboard, by map

  const plotOf = (map) => document.querySelector(
    `.movable [id*='"name":"${map}"'][id*='"graph"'] .js-plotly-plot`);
  const same = (a, b) => a && b && a.map === b.map && a.row === b.row && a.column === b.column;
  const say = (text) => window.dash_clientside.set_props("move-hint", { children: text });

  function sizes(plot) {
    const { xaxis, yaxis } = plot._fullLayout;
    return { xaxis, yaxis, rows: plot.layout.yaxis.tickvals.length,
      columns: plot.layout.xaxis.tickvals.length };
  }

  // The cell at a point of the window; nothing beside the cells or where they are scrolled away.
  function cellAt(x, y) {
    for (const map of Object.keys(MAPS)) {
      const plot = plotOf(map);
      if (!plot?._fullLayout?.xaxis) continue;
      const seen = plot.closest(".plot-scroll").getBoundingClientRect();
      if (x < seen.left || x > seen.right || y < seen.top || y > seen.bottom) continue;
      const { left, top } = plot.getBoundingClientRect();
      const { xaxis, yaxis, rows, columns } = sizes(plot);
      const column = Math.round(xaxis.p2d(x - left - xaxis._offset));
      const row = Math.round(yaxis.p2d(y - top - yaxis._offset));
      if (column >= 0 && column < columns && row >= 0 && row < rows) return { map, row, column };
    }
    return null;
  }

  function words(cell) {
    const tick = plotOf(cell.map).layout.xaxis.ticktext?.[cell.column] ?? "";
    const word = String(tick).split("<br>")[0].replace(/<[^>]*>/g, "")
      .replace(/&lt;/g, "<").replace(/&gt;/g, ">").replace(/&amp;/g, "&");
    return `${MAPS[cell.map]} prompt, depth ${cell.row}, token ${cell.column} (${word})`;
  }

  function mark(kind, cell) {
    document.querySelectorAll(`.cell-mark.${kind}`).forEach((one) => one.remove());
    const plot = cell && plotOf(cell.map);
    if (!plot) return;
    const { xaxis, yaxis } = sizes(plot);
    const [left, right] = [-0.5, 0.5].map((by) => xaxis._offset + xaxis.d2p(cell.column + by));
    const [bottom, top] = [-0.5, 0.5].map((by) => yaxis._offset + yaxis.d2p(cell.row + by));
    const made = Object.assign(document.createElement("div"), { className: `cell-mark ${kind}` });
    made.style.cssText = `left: ${left}px; top: ${top}px; width: ${right - left}px;` +
      `height: ${bottom - top}px`;
    plot.append(made);
  }

  function pick(cell) {
    picked = cell;
    mark("picked", cell);
    say(`Taken: ${words(cell)}. Now click where it is to go, or go there with the arrow keys and ` +
      "press Enter; Escape lets go.");
  }

  function letGo(text) {
    picked = null;
    for (const kind of ["picked", "over"]) mark(kind, null);
    say(text);
  }

  function put(from, to) {
    letGo(`Put: ${words(from)} into ${words(to)}.`);
    const end = (cell) => [MAPS[cell.map], cell.row, cell.column];
    window.dash_clientside.set_props("site", { data: {
      kind: "move", from: end(from), to: end(to), at: Date.now() } });
  }

  const choose = (cell) => { if (picked) put(picked, cell); else pick(cell); };

  function ghost(event, cell) {
    let made = document.querySelector(".cell-ghost");
    if (!cell) return made?.remove();
    if (!made) {
      made = Object.assign(document.createElement("div"), { className: "cell-ghost" });
      made.textContent = words(cell);
      document.body.append(made);
    }
    made.style.left = `${Math.min(event.clientX + 14, window.innerWidth - made.offsetWidth - 4)}px`;
    made.style.top = `${event.clientY + 14}px`;
  }

  function endDrag() {
    drag = null;
    ghost(null, null);
    mark("over", null);
    document.documentElement.classList.remove("moving");
  }

  document.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.target.closest?.(".movable .plot-scroll")) return;
    const cell = cellAt(event.clientX, event.clientY);
    // A finger scrolls: it takes and puts by two taps.
    if (cell) drag = { cell, x: event.clientX, y: event.clientY, moves: false,
      finger: event.pointerType === "touch" };
  }, true);
  document.addEventListener("pointermove", (event) => {
    if (!drag || drag.finger) return;
    if (Math.hypot(event.clientX - drag.x, event.clientY - drag.y) > 6) drag.moves = true;
    if (!drag.moves) return;
    event.preventDefault();
    if (!document.documentElement.classList.contains("moving")) {
      document.documentElement.classList.add("moving");
      for (const plot of Object.keys(MAPS).map(plotOf)) if (plot) window.Plotly?.Fx?.unhover?.(plot);
    }
    ghost(event, drag.cell);
    mark("over", cellAt(event.clientX, event.clientY));
  }, true);
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { cell, moves, x, y } = drag;
    const to = cellAt(event.clientX, event.clientY);
    endDrag();
    if (!moves) {
      if (Math.hypot(event.clientX - x, event.clientY - y) < 12) choose(cell);
    } else if (to && !same(to, cell)) put(cell, to);
    else letGo("Nothing was moved: it was let go where no other cell is.");
  }, true);
  document.addEventListener("pointercancel", endDrag, true);

  const WALK = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowRight: [0, 1], ArrowLeft: [0, -1] };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && (picked || drag)) {
      endDrag();
      return letGo("Let go: nothing was moved.");
    }
    const plot = event.target.matches?.(".movable .plot-scroll") &&
      event.target.querySelector(".js-plotly-plot");
    if (!plot?._fullLayout || event.ctrlKey || event.altKey || event.metaKey) return;
    const map = Object.keys(MAPS).find((name) => plotOf(name) === plot);
    const { rows, columns } = sizes(plot);
    const frame = plot.layout.shapes?.find((shape) => shape.line?.width === 2.5);
    const at = cursors[map] ?? { map, row: frame ? frame.y1 - 0.5 : rows - 1,
      column: frame ? frame.x1 - 0.5 : columns - 1 };
    const clamp = (value, most) => Math.min(Math.max(value, 0), most - 1);
    const [up, right] = WALK[event.key] ?? [0, 0];
    const cell = { map, row: clamp(at.row + up, rows), column: clamp(at.column + right, columns) };
    if (WALK[event.key]) {
      cursors[map] = cell;
      mark("cursor", cell);
      say(`${words(cell)}${picked ? ": Enter puts it here." : ": Enter takes it."}`);
    } else if (event.key === "Enter" || event.key === " ") choose(cell);
    else return;
    event.preventDefault();
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches?.(".movable .plot-scroll")) mark("cursor", null);
  });

  window.dash_clientside = window.dash_clientside ?? {};
  window.dash_clientside.moves = {
    // Another prompt or another move: nothing waits any more.
    forget() {
      picked = null;
      for (const kind of ["picked", "over", "cursor"]) mark(kind, null);
      for (const map of Object.keys(cursors)) delete cursors[map];
      return HINT;
    },
  };
})();
