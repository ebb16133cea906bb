/** This network beside another checkpoint or network: what differs, shown on the page #/diff. */

import { h } from "../dom.js";
import { networkName, summary } from "../differences.js";
import { panel } from "../panel.js";
import { section } from "../section.js";
import { reason, urls } from "../study.js";

panel({
  name: "diff",
  title: "Differences",
  order: 105,
  document: "diff",
  story: { href: urls.diff(), present: computed, show: differencesSection },
  found: (study) => (computed(study) ? [{ name: "Differences between networks", kind: "page", also: ["diff", "compare checkpoints", "epochs"], href: urls.diff() }] : []),
  table({ study, documents: { diff } }) {
    const names = (diff?.networks ?? []).map(networkName);
    return { computed: names.length ? `with ${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}` : null,
      missing: names.length ? null : reason(study, "diff", "not compared"), done: 0, left: 0 };
  },
});

/** Whether the study was compared with another network. */
function computed(study) {
  return Boolean(study.compared?.length);
}

function differencesSection({ study, documents: { diff } }) {
  if (!diff?.networks.length) return null;
  return section("diff", "Differences", "What another network does otherwise", summary(study, diff, diff.networks[0]),
    h("p", { class: "more" }, h("a", { href: urls.diff() }, "Predictions, units, patterns and heatmaps side by side →")), study.how.diff);
}
