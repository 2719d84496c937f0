/* The page that adds an artifact: its files are sent in parts, with progress, pause and resume.
   An upload that was cut off, also by a reload, goes on when the same files are chosen again: the
   server says which parts are there. Without this file the form sends all files at once. */
(function () {
  "use strict";

  const AT_ONCE = 3;
  const ATTEMPTS = 6;
  const MOST_ROWS = 200;
  const RATE_OVER = 5000;
  const form = document.getElementById("upload-form");
  if (!form) return;

  const filePicker = document.getElementById("upload-files");
  const folderPicker = document.getElementById("upload-folder");
  const drop = document.getElementById("upload-drop");
  const sendButton = document.getElementById("upload-send");
  const pauseButton = document.getElementById("upload-pause");
  const cancelButton = document.getElementById("upload-cancel");
  const problem = document.getElementById("upload-problem");
  const said = document.getElementById("upload-said");
  const whole = document.getElementById("upload-whole");
  const rows = document.getElementById("upload-rows");

  // What was chosen, by the way in which it was: choosing anew in one way keeps the others.
  const picked = { files: [], folder: [], dropped: [] };
  // The upload under way, or null. `state`: sending, paused, stopped, completing, over.
  let task = null;

  // --- Words ------------------------------------------------------------------------

  function sizeText(bytes) {
    const units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let value = bytes;
    let unit = 0;
    while (value >= 1024 && unit < units.length - 1) {
      value /= 1024;
      unit += 1;
    }
    return `${value.toFixed(unit ? 1 : 0).replace(/\.0$/, "")} ${units[unit]}`;
  }

  function announce(text) {
    document.getElementById("announcer").textContent = text;
  }

  function complain(text) {
    problem.querySelector("[data-problem]").textContent = text;
    problem.hidden = !text;
  }

  // --- Choosing ---------------------------------------------------------------------

  // Of a folder, all that is in it: its own name is no part of the paths.
  function inside(path) {
    return path.slice(path.indexOf("/") + 1);
  }

  function chosen() {
    const byPath = new Map();
    for (const { path, file } of [...picked.files, ...picked.folder, ...picked.dropped]) {
      byPath.set(path, file);
    }
    return byPath;
  }

  function showChosen() {
    const files = chosen();
    const size = [...files.values()].reduce((sum, file) => sum + file.size, 0);
    const count = `${files.size} file${files.size === 1 ? "" : "s"}`;
    document.getElementById("upload-chosen").textContent = files.size
      ? `${count}, ${sizeText(size)}.`
      : "";
  }

  filePicker.required = false;
  filePicker.addEventListener("change", () => {
    picked.files = [...filePicker.files].map((file) => ({ path: file.name, file }));
    showChosen();
  });
  folderPicker.addEventListener("change", () => {
    picked.folder = [...folderPicker.files].map((file) => ({
      path: inside(file.webkitRelativePath || file.name),
      file,
    }));
    showChosen();
  });

  function fileOf(entry) {
    return new Promise((resolve, reject) => entry.file(resolve, reject));
  }

  // A folder hands out its entries some at a time, and nothing at the end.
  async function entriesOf(folder) {
    const reader = folder.createReader();
    const all = [];
    for (;;) {
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) return all;
      all.push(...some);
    }
  }

  async function walk(entry, path, found) {
    if (entry.isFile) {
      found.push({ path, file: await fileOf(entry) });
      return;
    }
    for (const inner of await entriesOf(entry)) {
      await walk(inner, path ? `${path}/${inner.name}` : inner.name, found);
    }
  }

  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.dataset.over = "yes";
  });
  drop.addEventListener("dragleave", () => delete drop.dataset.over);
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    delete drop.dataset.over;
    if (task) return;
    // The list is gone once this handler waits for anything.
    const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
    const dropped = items.map((item) => [item.webkitGetAsEntry(), item.getAsFile()]);
    const found = [];
    try {
      for (const [entry, file] of dropped) {
        if (entry) await walk(entry, entry.isFile ? entry.name : "", found);
        else if (file) found.push({ path: file.name, file });
      }
    } catch (error) {
      complain("What was dropped cannot be read. Choose it with the buttons instead.");
      return;
    }
    picked.dropped = found;
    showChosen();
  });

  // --- Asking the server --------------------------------------------------------------

  class Refused extends Error {
    constructor(status, text, answer) {
      super(text);
      this.status = status;
      this.answer = answer;
    }

    // Whether the same request may fare better in a while.
    get isTemporary() {
      return this.status === 0 || this.status === 429 || [500, 502, 503, 504].includes(this.status);
    }
  }

  function ask(method, url, body, headers, watch) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      request.open(method, url);
      request.setRequestHeader("Accept", "application/json");
      request.setRequestHeader("X-CSRFToken", form.elements.csrfmiddlewaretoken.value);
      for (const [name, value] of Object.entries(headers || {})) {
        request.setRequestHeader(name, value);
      }
      if (watch) watch(request);
      request.addEventListener("load", () => {
        let answer = null;
        try {
          answer = JSON.parse(request.responseText);
        } catch (error) {
          /* A proxy's page: the status says enough. */
        }
        if (request.status >= 200 && request.status < 300 && answer) {
          resolve({ status: request.status, answer });
          return;
        }
        const text = answer?.detail || `The server answered with status ${request.status}.`;
        const places = (answer?.problems || []).map((each) => `${each.path}: ${each.message}`);
        reject(new Refused(request.status, [text, ...places].join(" "), answer));
      });
      request.addEventListener("error", () =>
        reject(new Refused(0, "The server could not be reached. What was sent is kept.")),
      );
      request.addEventListener("abort", () => reject(new Refused(-1, "")));
      request.send(body);
    });
  }

  function askJson(method, url, data) {
    const headers = data === undefined ? {} : { "Content-Type": "application/json" };
    return ask(method, url, data === undefined ? null : JSON.stringify(data), headers);
  }

  function pause(milliseconds) {
    return new Promise((resolve) => window.setTimeout(resolve, milliseconds));
  }

  async function patiently(act, goesOn) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await act();
      } catch (error) {
        if (!error.isTemporary || attempt >= ATTEMPTS || !goesOn()) throw error;
        await pause(500 * 2 ** attempt);
        if (!goesOn()) throw new Refused(-1, "");
      }
    }
  }

  // The browser hashes only on secure pages; elsewhere parts are sent without their digests.
  async function sha256(blob) {
    if (!window.crypto?.subtle) return null;
    return new Uint8Array(await window.crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  }

  function hex(bytes) {
    return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // --- Beginning, or going on -----------------------------------------------------------

  function fits(upload, files) {
    return (
      upload.state === "open" &&
      upload.files.length === files.size &&
      upload.files.every((file) => files.get(file.path)?.size === file.size)
    );
  }

  async function begun(name, files) {
    for (const row of document.querySelectorAll("[data-upload]")) {
      if (row.dataset.uploadName !== name) continue;
      const { answer } = await askJson("GET", `${form.dataset.uploads}${row.dataset.upload}/`);
      if (fits(answer, files)) return answer;
    }
    return null;
  }

  // Of the same name and size a file may still be another one.
  async function check(upload, files) {
    for (const file of upload.files) {
      for (const part of file.received) {
        const start = (part.number - 1) * upload.part_size;
        const digest = await sha256(files.get(file.path).slice(start, start + part.size));
        if (digest && hex(digest) !== part.sha256) {
          throw new Refused(
            409,
            `“${file.path}” is not the file whose parts are there. Discard what came in of ` +
              "it, or use another name.",
          );
        }
      }
    }
  }

  async function begin() {
    const files = chosen();
    const name = form.elements.name.value.trim();
    let upload = await begun(name, files);
    if (upload) {
      said.textContent = "Looking at what is there…";
      await check(upload, files);
    } else {
      const made = await askJson("POST", form.dataset.uploads, {
        artifact: name,
        stage: form.elements.stage.value,
        job: form.elements.job.value,
        step: form.elements.step.value,
        files: [...files].map(([path, file]) => ({ path, size: file.size })),
      });
      upload = made.answer;
    }
    task.upload = upload;
    task.url = `${form.dataset.uploads}${upload.id}/`;
    task.files = new Map(
      upload.files.map((file) => [
        file.number,
        { ...file, blob: files.get(file.path), sent: 0, done: new Set(), under: new Map(), row: null },
      ]),
    );
    note(upload);
    drawRows();
  }

  // What the server has, and what is still to be sent.
  function note(upload) {
    for (const { number, received } of upload.files) {
      const file = task.files.get(number);
      file.done = new Set(received.map((part) => part.number));
      file.sent = received.reduce((sum, part) => sum + part.size, 0);
    }
    task.queue = [...upload.missing];
  }

  // --- Sending ------------------------------------------------------------------------

  // Whether this is still the upload under way, and nobody has paused it since.
  function goes(mine, turn) {
    return task === mine && mine.turn === turn && mine.state === "sending";
  }

  async function send(mine, turn, part) {
    const file = mine.files.get(part.file);
    const bytes = file.blob.slice(part.offset, part.offset + part.size);
    const headers = { "Content-Type": "application/octet-stream" };
    let digest = null;
    try {
      digest = await sha256(bytes);
    } catch (error) {
      throw new Refused(
        400,
        `“${file.path}” cannot be read any more. If it has changed, cancel this upload and ` +
          "begin another.",
      );
    }
    if (digest) headers["Content-Digest"] = `sha-256=:${btoa(String.fromCharCode(...digest))}:`;
    const url = `${mine.url}parts/${part.file}/${part.part}/`;
    try {
      await patiently(
        () =>
          ask("PUT", url, bytes, headers, (request) => {
            mine.requests.add(request);
            request.addEventListener("loadend", () => mine.requests.delete(request));
            request.upload.addEventListener("progress", (event) => {
              file.under.set(part.part, Math.min(event.loaded, part.size));
              show();
            });
          }),
        () => goes(mine, turn),
      );
      if (!file.done.has(part.part)) file.sent += part.size;
      file.done.add(part.part);
    } finally {
      file.under.delete(part.part);
      show();
    }
  }

  async function work(mine, turn) {
    while (goes(mine, turn) && mine.queue.length) {
      // What fails stays unsent: going on asks the server anew what is missing.
      await send(mine, turn, mine.queue.shift());
    }
  }

  async function complete() {
    task.state = "completing";
    whole.removeAttribute("value");
    said.textContent = "Putting it together…";
    announce("All is sent. Putting it together.");
    showButtons();
    const { answer } = await patiently(
      () => askJson("POST", `${task.url}complete/`),
      () => true,
    );
    task.state = "over";
    window.location.assign(new URL(answer.url).pathname);
  }

  async function goOn() {
    const mine = task;
    complain("");
    mine.state = "sending";
    mine.samples = [];
    mine.turn += 1;
    const { turn } = mine;
    showButtons();
    try {
      if (mine.upload) {
        note((await askJson("GET", mine.url)).answer);
      } else {
        await begin();
        showButtons();
        pauseButton.focus();
      }
      show();
      await Promise.all(Array.from({ length: AT_ONCE }, () => work(mine, turn)));
      if (goes(mine, turn)) await complete();
    } catch (error) {
      // One part that is refused ends them all: the others would only come to the same.
      if (goes(mine, turn) || mine.state === "completing") stop(error);
    }
  }

  function abortRequests() {
    for (const request of [...task.requests]) request.abort();
  }

  function stop(error) {
    task.state = "stopped";
    abortRequests();
    complain(error.message || String(error));
    if (!task.upload) {
      end();
      return;
    }
    show();
    showButtons();
  }

  function end() {
    task = null;
    document.getElementById("upload-progress").hidden = true;
    rows.replaceChildren();
    showButtons();
  }

  // --- Showing --------------------------------------------------------------------------

  function drawRows() {
    const template = document.getElementById("upload-row");
    rows.replaceChildren();
    for (const file of [...task.files.values()].slice(0, MOST_ROWS)) {
      const row = template.content.cloneNode(true).firstElementChild;
      const bar = row.querySelector("progress");
      bar.id = `upload-file-${file.number}`;
      bar.max = Math.max(file.size, 1);
      row.querySelector("label").htmlFor = bar.id;
      row.querySelector("label").textContent = file.path;
      file.row = row;
      rows.append(row);
    }
    if (task.files.size > MOST_ROWS) {
      const more = document.createElement("li");
      more.textContent = `and ${task.files.size - MOST_ROWS} more`;
      rows.append(more);
    }
  }

  function sentOf(file) {
    return [...file.under.values()].reduce((sum, bytes) => sum + bytes, file.sent);
  }

  // Bytes a second over the last few seconds: an average over all would hide a line that died.
  function rate(sent) {
    const now = performance.now();
    task.samples.push([now, sent]);
    while (task.samples.length > 2 && task.samples[0][0] < now - RATE_OVER) task.samples.shift();
    const [since, before] = task.samples[0];
    return now - since > 250 ? Math.max(0, ((sent - before) * 1000) / (now - since)) : 0;
  }

  function show() {
    if (!task?.upload || task.state === "completing") return;
    let sent = 0;
    for (const file of task.files.values()) {
      const ofFile = sentOf(file);
      sent += ofFile;
      if (!file.row) continue;
      file.row.querySelector("progress").value = file.size ? ofFile : 1;
      file.row.querySelector(".number").textContent =
        ofFile === file.size ? sizeText(file.size) : `${sizeText(ofFile)} of ${sizeText(file.size)}`;
    }
    const size = task.upload.size;
    whole.max = Math.max(size, 1);
    whole.value = size ? sent : 1;
    const speed = task.state === "sending" ? rate(sent) : 0;
    const how = { paused: ", paused", stopped: ", stopped" }[task.state] || "";
    said.textContent =
      `${sizeText(sent)} of ${sizeText(size)}` + (speed ? `, ${sizeText(speed)}/s` : how);
    const quarter = Math.floor((4 * sent) / Math.max(size, 1));
    if (quarter > task.quarter && quarter < 4) announce(`${quarter * 25} per cent sent`);
    task.quarter = Math.max(task.quarter, quarter);
  }

  function showButtons() {
    const state = task ? task.state : "none";
    const mayPause = state === "sending" && task.upload !== null;
    const mayResume = state === "paused" || state === "stopped";
    sendButton.hidden = state !== "none";
    pauseButton.hidden = !mayPause && !mayResume;
    pauseButton.textContent = mayPause ? "Pause" : state === "paused" ? "Resume" : "Try again";
    cancelButton.hidden = !mayPause && !mayResume;
    for (const field of form.querySelectorAll(".field input")) field.disabled = state !== "none";
  }

  // --- Buttons ----------------------------------------------------------------------------

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (task) return;
    if (!chosen().size) {
      complain("Choose files or a folder first.");
      filePicker.focus();
      return;
    }
    task = {
      upload: null,
      state: "sending",
      turn: 0,
      queue: [],
      requests: new Set(),
      samples: [],
      quarter: 0,
    };
    document.getElementById("upload-progress").hidden = false;
    said.textContent = "";
    goOn();
  });

  pauseButton.addEventListener("click", () => {
    if (task.state === "sending") {
      task.state = "paused";
      abortRequests();
      show();
      showButtons();
      announce("Paused");
    } else {
      goOn();
    }
  });

  cancelButton.addEventListener("click", async () => {
    if (!window.confirm("Cancel this upload? What was sent of it is removed.")) return;
    const { upload, url } = task;
    task.state = "over";
    abortRequests();
    try {
      if (upload) await askJson("POST", `${url}abort/`);
      end();
      complain("");
      announce("The upload was cancelled");
      if (upload) document.querySelector(`[data-upload="${upload.id}"]`)?.remove();
      sendButton.focus();
    } catch (error) {
      stop(error);
    }
  });
})();
