/* Runs in <head> before the first paint, so that a chosen theme never flashes
   the other one, and so that styles know whether scripts run at all. */
(function () {
  "use strict";
  var root = document.documentElement;
  root.dataset.js = "on";
  try {
    var choice = window.localStorage.getItem("sluice-theme");
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
  } catch (error) {
    /* Storage may be forbidden; the system's preference then decides. */
  }
})();
