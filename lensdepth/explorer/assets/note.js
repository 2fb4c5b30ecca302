"use strict";
// The note on the screen: kept a moment after the last key, or when its field is left.
(() => {
  let waiting = 0;
  let asked = null;  // what was sent and has not come back yet
  const field = () => document.getElementById("note-text");

  function send() {
    clearTimeout(waiting);
    waiting = 0;
    asked = field().value;
    window.dash_clientside.set_props("note", { value: asked });
  }

  document.addEventListener("input", (event) => {
    if (event.target !== field()) return;
    clearTimeout(waiting);
    waiting = setTimeout(send, 400);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target === field() && waiting) send();
  });

  window.dash_clientside = window.dash_clientside ?? {};
  window.dash_clientside.lensdepth = Object.assign(window.dash_clientside.lensdepth ?? {}, {
    // What the screen has; while somebody writes, the field is theirs.
    noted(value) {
      const text = value ?? "";
      const start = text.split("\n", 1)[0];
      const shown = start && `: ${start}`;
      const { no_update: still } = window.dash_clientside;
      if (waiting || (asked !== null && asked !== text && document.activeElement === field())) {
        return [still, shown];
      }
      asked = null;
      return [text, shown];
    },
  });
  document.addEventListener("toggle", (event) => {
    if (event.target.id === "note-part" && event.target.open) field().focus();
  }, true);
  document.addEventListener("click", (event) => {
    const note = document.getElementById("note-part");
    if (note?.open && !note.contains(event.target)) note.open = false;
  });
  document.addEventListener("keydown", (event) => {
    const note = document.getElementById("note-part");
    if (event.key !== "Escape" || !note?.open) return;
    note.open = false;
    note.querySelector("summary").focus();
  });
})();
