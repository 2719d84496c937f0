/* The page of a job: its log while it is written, links to lines and steps, and the way to
   the search. Without this file the page shows the log as it stood when it was loaded. */
(function () {
  "use strict";

  const MOST_LINES = 5000;
  const log = document.getElementById("job-log");
  const lines = document.getElementById("job-log-lines");
  const told = document.getElementById("job-stream");

  // --- Links to lines and steps that this page does not show -----------------------

  // A part of the log has an address of its own: the server shows it.
  function goToLine() {
    const match = /^#L-(\d{1,10})$/.exec(window.location.hash);
    if (!match || !lines || document.getElementById(`L-${match[1]}`)) return;
    const shown = new URLSearchParams(window.location.search).get("line");
    if (shown === match[1]) return;
    window.location.replace(`?line=${match[1]}#L-${match[1]}`);
  }

  window.addEventListener("hashchange", goToLine);
  goToLine();

  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="?step="]');
    if (!link) return;
    const step = document.getElementById(decodeURIComponent(link.hash.slice(1)));
    if (!step) return;
    event.preventDefault();
    window.location.hash = link.hash;
    step.scrollIntoView({ block: "start" });
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const field = document.getElementById("log-query");
    if (!field) return;
    event.preventDefault();
    field.focus();
    field.select();
  });

  // --- Following --------------------------------------------------------------------

  if (!told || !lines) return;

  // "stream": lines arrive by themselves. "poll": htmx asks for them. "ended": nothing follows.
  let way = "poll";
  let place = told.dataset.place;
  let isAhead = false;
  let source = null;

  function atEnd() {
    return log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  }

  function append(html) {
    const follows = atEnd();
    lines.insertAdjacentHTML("beforeend", html);
    if (!follows) return;
    // Only above the reader's eyes, and only what the server shows again when asked.
    while (lines.children.length > MOST_LINES) lines.firstElementChild.remove();
    log.scrollTop = log.scrollHeight;
  }

  function showState(html) {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const next = holder.content.getElementById("job-state");
    const present = document.getElementById("job-state");
    if (!next || !present) return;
    // Buttons above the log would have to change too.
    if (next.dataset.seen !== told.dataset.seen) {
      stop();
      window.location.reload();
      return;
    }
    const focused = present.contains(document.activeElement) && document.activeElement.getAttribute("href");
    present.replaceWith(next);
    if (focused) next.querySelector(`a[href="${CSS.escape(focused)}"], a`)?.focus();
    document.dispatchEvent(new CustomEvent("htmx:load", { detail: { elt: next } }));
  }

  function stop() {
    if (source) source.close();
    source = null;
  }

  function follow() {
    if (way === "ended" || source || document.hidden || !window.EventSource) return;
    source = new EventSource(`${told.dataset.stream}?after=${encodeURIComponent(place)}`);
    way = "stream";
    source.addEventListener("message", (event) => {
      place = event.lastEventId;
      isAhead = true;
      append(event.data);
    });
    source.addEventListener("state", (event) => showState(event.data));
    source.addEventListener("end", () => {
      way = "ended";
      stop();
    });
    source.addEventListener("error", () => {
      // A stream that only broke off is taken up again by the browser. One that was refused
      // is not: then htmx asks as it would without a stream.
      if (source && source.readyState === EventSource.CLOSED) {
        stop();
        way = "poll";
      }
    });
  }

  // Nobody reads a hidden page: its slot goes to somebody else.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) stop();
    else if (way === "stream") follow();
  });

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (event.detail.elt.id === "job-poller" && way !== "poll") event.preventDefault();
  });

  document.addEventListener("htmx:configRequest", (event) => {
    if (event.detail.elt.id !== "job-poller" || way !== "poll" || !isAhead) return;
    const address = new URL(event.detail.path, window.location.href);
    address.searchParams.set("after", place);
    event.detail.path = address.pathname + address.search;
    // The answer brings the next question with it, which begins where this one ends.
    isAhead = false;
  });

  if (!window.location.hash) log.scrollTop = log.scrollHeight;
  follow();
})();
