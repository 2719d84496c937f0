/* The little JavaScript there is. Every page works without it: this file only
   makes copying, confirming, choosing a theme and reading times smoother.
   It adds no styles and evaluates no strings, as the Content-Security-Policy asks. */
(function () {
  "use strict";

  const root = document.documentElement;

  // Says something to people who use a screen reader, without moving the focus.
  function announce(text) {
    const region = document.getElementById("announcer");
    if (!region) return;
    region.textContent = "";
    window.setTimeout(() => {
      region.textContent = text;
    }, 50);
  }

  // --- Copy buttons: <button data-copy="text"> or data-copy-from="element id" ----

  async function copyText(text) {
    if (navigator.clipboard && window.isSecureContext) {
      await navigator.clipboard.writeText(text);
      return;
    }
    // Plain HTTP on a local network has no clipboard API; this older way still works.
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    field.setAttribute("aria-hidden", "true");
    document.body.append(field);
    field.select();
    const copied = document.execCommand("copy");
    field.remove();
    if (!copied) throw new Error("copy refused");
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy], [data-copy-from]");
    if (!button) return;
    const source = document.getElementById(button.dataset.copyFrom || "");
    const text = source ? source.textContent.trim() : button.dataset.copy || "";
    try {
      await copyText(text);
      button.dataset.copied = "yes";
      announce("Copied");
    } catch (error) {
      announce("Could not copy");
    } finally {
      button.focus();
    }
    window.setTimeout(() => {
      delete button.dataset.copied;
    }, 1600);
  });

  // --- Theme: <button data-theme-choice="system|light|dark"> ---------------------

  function currentTheme() {
    return root.dataset.theme || "system";
  }

  function showTheme(scope) {
    for (const button of scope.querySelectorAll("[data-theme-choice]")) {
      button.setAttribute("aria-pressed", String(button.dataset.themeChoice === currentTheme()));
    }
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-theme-choice]");
    if (!button) return;
    const choice = button.dataset.themeChoice;
    if (choice === "system") delete root.dataset.theme;
    else root.dataset.theme = choice;
    try {
      if (choice === "system") window.localStorage.removeItem("sluice-theme");
      else window.localStorage.setItem("sluice-theme", choice);
    } catch (error) {
      /* The choice then lasts for this page only. */
    }
    showTheme(document);
  });

  // --- Confirming: data-confirm on a form, or on the button that submits it ------
  //
  // Without scripts the form carries a required checkbox (components/confirm_check.html).
  // With them, the checkbox gives way to a dialog, which ticks it when confirmed, so
  // the server receives the same fields either way.

  const FALLBACK = "[data-confirm-fallback] input[type=checkbox]";

  function ask(words) {
    const dialog = document.getElementById("confirm-dialog");
    if (!dialog || typeof dialog.showModal !== "function") {
      return Promise.resolve(window.confirm(words.confirm));
    }
    const yes = dialog.querySelector("[data-confirm-yes]");
    const body = dialog.querySelector("[data-confirm-body]");
    dialog.querySelector("[data-confirm-title]").textContent = words.confirm;
    body.textContent = words.confirmBody || "";
    body.hidden = !words.confirmBody;
    yes.textContent = words.confirmLabel || "Confirm";
    yes.classList.toggle("button-danger", words.confirmTone === "danger");
    yes.classList.toggle("button-primary", words.confirmTone !== "danger");
    dialog.returnValue = "";
    return new Promise((resolve) => {
      dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
      dialog.showModal();
    });
  }

  const confirmed = new WeakSet();

  // Capturing, so that the question comes before htmx or anything else sends the form.
  document.addEventListener(
    "submit",
    async (event) => {
      const form = event.target;
      const submitter = event.submitter;
      const asker = submitter && submitter.dataset.confirm ? submitter : form;
      if (!asker.dataset.confirm || confirmed.delete(form)) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (!(await ask(asker.dataset))) return;
      for (const box of form.querySelectorAll(FALLBACK)) box.checked = true;
      confirmed.add(form);
      form.requestSubmit(submitter || undefined);
      // A field that fails its own check stops the submit, and the question is asked anew.
      window.setTimeout(() => confirmed.delete(form), 0);
    },
    true,
  );

  document.addEventListener("htmx:confirm", (event) => {
    if (!event.detail.question) return;
    event.preventDefault();
    ask({ ...event.detail.elt.dataset, confirm: event.detail.question }).then((agreed) => {
      if (agreed) event.detail.issueRequest(true);
    });
  });

  // --- A form is sent once, however often its button is pressed ------------------

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (event.defaultPrevented || form.method !== "post") return;
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    // A download answers without leaving the page, so the form wakes up again.
    window.setTimeout(() => {
      delete form.dataset.sent;
    }, 4000);
  });

  window.addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sent]")) delete form.dataset.sent;
  });

  // --- Relative times: the same words as the relative_time filter ----------------

  const MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ");

  function describeAge(when, now) {
    const seconds = (now - when) / 1000;
    const distance = Math.abs(seconds);
    if (distance < 45) return "just now";
    if (distance >= 30 * 86400) {
      return `${when.getUTCDate()} ${MONTHS[when.getUTCMonth()]} ${when.getUTCFullYear()}`;
    }
    let text;
    if (distance < 3600) text = `${Math.max(1, Math.floor(distance / 60))} min`;
    else if (distance < 86400) text = `${Math.floor(distance / 3600)} h`;
    else {
      const days = Math.floor(distance / 86400);
      text = days === 1 ? "1 day" : `${days} days`;
    }
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  function refreshTimes(scope) {
    const now = new Date();
    for (const element of scope.querySelectorAll("time[data-relative]")) {
      const when = new Date(element.dateTime);
      if (Number.isNaN(when.getTime())) continue;
      const text = describeAge(when, now);
      if (element.textContent !== text) element.textContent = text;
    }
  }

  window.setInterval(() => {
    if (!document.hidden) refreshTimes(document);
  }, 30000);

  // --- Elapsed times count on: the same words as the duration filter --------------

  // Seconds that had passed at the first sight of an element, and when that was. The
  // server's clock and this one need not agree.
  const counted = new WeakMap();

  function describeSeconds(seconds) {
    if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 10) return `${seconds.toFixed(1).replace(/\.0$/, "")} s`;
    const whole = Math.round(seconds);
    const parts = [
      [Math.floor(whole / 86400), "d"],
      [Math.floor(whole / 3600) % 24, "h"],
      [Math.floor(whole / 60) % 60, "min"],
      [whole % 60, "s"],
    ];
    const shown = parts.filter(([amount]) => amount).map(([amount, unit]) => `${amount} ${unit}`);
    return shown.slice(0, 2).join(" ") || "0 s";
  }

  function countOn() {
    const now = performance.now();
    for (const element of document.querySelectorAll("[data-elapsed]")) {
      const begun = Number(element.dataset.elapsed);
      if (element.dataset.elapsed === "" || Number.isNaN(begun)) continue;
      if (!counted.has(element)) counted.set(element, now - begun * 1000);
      element.textContent = describeSeconds((now - counted.get(element)) / 1000);
    }
  }

  window.setInterval(() => {
    if (!document.hidden) countOn();
  }, 1000);

  // --- What asks for news of itself rests while nobody looks ----------------------

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.detail.elt.matches("[data-live]")) event.preventDefault();
  });

  // --- Menus close when one clicks elsewhere or presses Escape -------------------

  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // --- Logs follow their end while the reader is at the end ----------------------

  function nearEnd(log) {
    return log.scrollHeight - log.scrollTop - log.clientHeight < 48;
  }

  document.addEventListener("htmx:beforeSwap", (event) => {
    const log = event.detail.target.closest("[data-follow]");
    if (log) log.dataset.follow = nearEnd(log) ? "end" : "no";
  });

  document.addEventListener("htmx:afterSwap", (event) => {
    const log = event.detail.target.closest("[data-follow]");
    if (log && log.dataset.follow === "end") log.scrollTop = log.scrollHeight;
  });

  // --- A request that failed is said, not swallowed ------------------------------

  function complain(text) {
    const place = document.getElementById("request-problem");
    if (!place) return;
    place.hidden = false;
    place.querySelector("[data-problem-text]").textContent = text;
  }

  document.addEventListener("htmx:sendError", () => {
    complain("Sluice could not be reached. What you see may be out of date.");
  });

  document.addEventListener("htmx:responseError", (event) => {
    complain(`Sluice answered with status ${event.detail.xhr.status}. Reload the page and try again.`);
  });

  document.addEventListener("htmx:afterOnLoad", () => {
    const place = document.getElementById("request-problem");
    if (place) place.hidden = true;
  });

  // A page that asks for its own news after the session has ended is answered with the sign-in
  // page. That belongs in the window, not into a corner of this page.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const answered = event.detail.xhr.responseURL;
    if (!answered || !new URL(answered).pathname.endsWith("/login/")) return;
    event.detail.shouldSwap = false;
    window.location.reload();
  });

  // --- Whatever arrives, now or later through htmx, is made ready ----------------

  function prepare(scope) {
    for (const box of scope.querySelectorAll(FALLBACK)) box.required = false;
    showTheme(scope);
    refreshTimes(scope);
    countOn();
  }

  prepare(document);
  document.addEventListener("htmx:load", (event) => prepare(event.detail.elt));
})();
