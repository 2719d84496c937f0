/* The editor of a definition: line numbers, marks and places. The text area works
   without any of it, and what is wrong is found out by the server. */
(function () {
  "use strict";

  const editor = document.querySelector("[data-editor]");
  if (!editor) return;
  const text = editor.querySelector("[data-editor-text]");
  const gutter = editor.querySelector("[data-editor-gutter]");
  // What is marked by the worst of it.
  const SEVERITIES = ["error", "warning", "hint"];
  const TONES = { error: "tone-danger", warning: "tone-warning", hint: "tone-info" };

  function countLines() {
    let count = 1;
    for (let at = text.value.indexOf("\n"); at >= 0; at = text.value.indexOf("\n", at + 1)) count++;
    return count;
  }

  function numberLines() {
    const missing = countLines() - gutter.children.length;
    if (missing > 0) {
      const rows = document.createDocumentFragment();
      for (let nth = 0; nth < missing; nth++) {
        const row = document.createElement("li");
        row.setAttribute("aria-hidden", "true");
        rows.append(row);
      }
      gutter.append(rows);
    }
    for (let nth = missing; nth < 0; nth++) gutter.lastElementChild.remove();
    follow();
  }

  function follow() {
    gutter.scrollTop = text.scrollTop;
  }

  function clear(row) {
    row.removeAttribute("class");
    row.removeAttribute("title");
    row.setAttribute("aria-hidden", "true");
    row.textContent = "";
  }

  function markLines() {
    for (const row of gutter.querySelectorAll("[class]")) clear(row);
    const marks = new Map();
    for (const place of document.querySelectorAll("#check [data-mark]")) {
      const line = Number(place.dataset.line);
      const mark = marks.get(line) || { severity: place.dataset.mark, said: [] };
      if (SEVERITIES.indexOf(place.dataset.mark) < SEVERITIES.indexOf(mark.severity)) {
        mark.severity = place.dataset.mark;
      }
      mark.said.push(`${place.dataset.mark}: ${place.dataset.said}`);
      marks.set(line, mark);
    }
    for (const [line, mark] of marks) {
      const row = gutter.children[line - 1];
      if (!row) continue;
      row.className = `is-${mark.severity} ${TONES[mark.severity]}`;
      row.title = mark.said.join("\n");
      row.removeAttribute("aria-hidden");
      const words = document.createElement("span");
      words.className = "visually-hidden";
      words.textContent = ` Line ${line}, ${mark.said.join("; ")}`;
      row.append(words);
    }
  }

  // Columns count characters; an offset of the text area counts UTF-16 units.
  function offsetOf(line, column) {
    let start = 0;
    for (let nth = 1; nth < line; nth++) {
      const end = text.value.indexOf("\n", start);
      if (end < 0) return text.value.length;
      start = end + 1;
    }
    let end = text.value.indexOf("\n", start);
    if (end < 0) end = text.value.length;
    let before = 0;
    for (const character of text.value.slice(start, end)) {
      if (--column <= 0) break;
      before += character.length;
    }
    return start + before;
  }

  function goTo(line, column) {
    const at = offsetOf(line, column);
    text.focus();
    text.setSelectionRange(at, at);
    const height = parseFloat(window.getComputedStyle(text).lineHeight);
    text.scrollTop = Math.max(0, (line - 1) * height - text.clientHeight / 3);
    editor.scrollIntoView({ block: "nearest" });
  }

  text.addEventListener("input", numberLines);
  text.addEventListener("scroll", follow, { passive: true });
  new ResizeObserver(follow).observe(text);

  document.addEventListener("click", (event) => {
    const place = event.target.closest("a[data-line]");
    if (!place) return;
    event.preventDefault();
    goTo(Number(place.dataset.line), Number(place.dataset.column || 1));
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    if (event.detail.target.id === "check") markLines();
  });

  // The same words again are no news to someone who listens.
  document.addEventListener("htmx:oobBeforeSwap", (event) => {
    const { target, fragment } = event.detail;
    if (target.id !== "check-summary") return;
    if (target.textContent.trim() === fragment.textContent.trim()) event.detail.shouldSwap = false;
  });

  // A browser may bring back what was written before one came back to this page.
  window.addEventListener("pageshow", (event) => {
    numberLines();
    if (event.persisted || text.value !== text.defaultValue) {
      text.dispatchEvent(new Event("input", { bubbles: true }));
    }
  });

  numberLines();
  markLines();
})();
