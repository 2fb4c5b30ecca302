"use strict";
// Prompt files, dropped on the page or chosen: read here, bounded, and sent to be read there.
(() => {
  const tell = (id, props) => window.dash_clientside.set_props(id, props);
  const say = (text, kind) => tell("dropped-said", { children: {
    type: "Div", namespace: "dash_html_components",
    props: { children: text, className: `notice ${kind}` } } });

  function base64(bytes) {
    let text = "";
    for (let at = 0; at < bytes.length; at += 0x8000) {
      text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    }
    return btoa(text);
  }

  async function take(files) {
    const button = document.getElementById("choose-file");
    const [file] = files;
    if (!file || !button) return;
    if (files.length > 1) return say("Several files were dropped; drop them one by one.", "error");
    const most = Number(button.dataset.most);
    // As callbacks_files.py says it, who looks again.
    if (file.size > most) {
      return say(`The file '${file.name}' is larger than ${most >> 20} MiB, which is the most ` +
        "that a page takes; name it on the command line: lensdepth explore --prompts FILE.", "error");
    }
    try {
      const bytes = new Uint8Array(await file.arrayBuffer());
      say(`Reading '${file.name}' …`, "waiting");
      tell("dropped", { data: { name: file.name, content: base64(bytes), at: Date.now() } });
    } catch {  // a folder, or a file that is gone
      say(`'${file.name}' cannot be read; is it a folder?`, "error");
    }
  }

  // What was read is said until something else is asked.
  const said = { at: null, query: null };
  window.dash_clientside = window.dash_clientside ?? {};
  window.dash_clientside.files = {
    hush(screen, dropped) {
      const { no_update: still } = window.dash_clientside;
      if (!screen || !dropped) return still;
      if (said.at !== dropped.at) Object.assign(said, { at: dropped.at, query: screen.query });
      return said.query === screen.query ? still : [];
    },
  };

  const ofFiles = (event) => [...event.dataTransfer?.types ?? []].includes("Files");
  const mark = (now) => document.documentElement.classList.toggle("dropping", now);
  for (const kind of ["dragenter", "dragover"]) {
    document.addEventListener(kind, (event) => {
      if (!ofFiles(event)) return;
      event.preventDefault();
      event.dataTransfer.dropEffect = "copy";
      mark(true);
    });
  }
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) mark(false); });
  document.addEventListener("drop", (event) => {
    if (!ofFiles(event)) return;
    event.preventDefault();
    mark(false);
    take([...event.dataTransfer.files]);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("#choose-file");
    if (!button) return;
    const field = Object.assign(document.createElement("input"), {
      type: "file", accept: button.dataset.endings, onchange: () => take([...field.files]) });
    field.click();
  });
})();
