/** How each panel was computed, what is missing and why, and how long everything took. */

import { facts, h } from "./dom.js";
import { day, seconds } from "./format.js";
import { panelOf } from "./panel.js";
import { section } from "./section.js";

const panelTitle = (name) => panelOf(name)?.title ?? name.replaceAll(/[-_]/g, " ");

export function aboutSection(study) {
  const total = study.timing.reduce((sum, entry) => sum + (entry.seconds ?? 0), 0);
  return section("about", "About", "How this study was made", null,
    h("div", { class: "columns" },
      h("div", {},
        h("h3", {}, "How each panel was computed"),
        facts(Object.entries(study.how).map(([what, how]) => [panelTitle(what), how]))),
      h("div", {},
        h("h3", {}, "What is missing, and why"),
        study.missing.length ? facts(study.missing.map(({ what, why }) => [panelTitle(what), why])) : h("p", {}, "Nothing."),
        h("h3", {}, "Computing time"),
        facts([...study.timing.map(({ what, seconds: time }) => [panelTitle(what), time]), ["total", total]].map(([what, time]) => [what, seconds(time)])),
        h("h3", {}, "Created"),
        facts([["on", day(study.created)], ["with", `Innersight ${study.version}`],
          ["skipped", study.skipped.join(" ")]]))));
}
