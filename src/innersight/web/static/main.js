/** Start: the study, the navigation, the theme, the first page. */

import { loadAnnotations } from "./annotations.js";
import { byId, fill, h } from "./dom.js";
import { openHelp, startKeys } from "./keys.js";
import { startLive } from "./live.js";
import { startNavigation } from "./navigation.js";
import { startPrinting } from "./printing.js";
import { start } from "./router.js";
import { openSearch } from "./search.js";
import { loadStudy } from "./study.js";
import { startTray } from "./tray.js";

const main = byId("main");
const alarm = byId("alarm");

addEventListener("unhandledrejection", (event) => report(event.reason));
addEventListener("error", (event) => report(event.error ?? event.message));

theme();
byId("skip").addEventListener("click", () => main.focus());
const study = await loadStudy();
startNavigation(main, study);
performance.mark("study");
await loadAnnotations();
document.documentElement.dataset.ready = "study";
byId("search").addEventListener("click", () => openSearch(study));
byId("help").addEventListener("click", openHelp);
byId("link").addEventListener("click", copyLink);
startPrinting(byId("print"));
startKeys(study);
if (!location.hash && study.start) history.replaceState(null, "", study.start);
await start(main, study);
startTray(study);
performance.mark("page");
document.documentElement.dataset.ready = "page";
await startLive(study, main);

/** Errors are shown, not swallowed: the browser's console gets them too. */
function report(error) {
  alarm.hidden = false;
  fill(alarm, h("strong", {}, "Part of this page could not be shown. "), String(error?.message ?? error));
}

/** The address of what is shown, pins and all. */
async function copyLink() {
  const button = byId("link");
  await navigator.clipboard.writeText(location.href);
  button.dataset.done = "";
  button.setAttribute("aria-label", "Link copied");
  setTimeout(() => {
    delete button.dataset.done;
    button.setAttribute("aria-label", "Copy link to this view");
  }, 2000);
}

/** The reader's choice of light or dark; without one the system's. */
function theme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const current = () => document.documentElement.dataset.theme ?? (dark.matches ? "dark" : "light");
  const label = () => button.setAttribute("aria-label", `Switch to ${current() === "dark" ? "light" : "dark"} colours`);
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = current() === "dark" ? "light" : "dark";
    label();
  });
  dark.addEventListener("change", label);
  label();
}
