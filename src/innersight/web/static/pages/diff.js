/** #/diff: this network beside other checkpoints or networks; a slider where they are epochs of a training. */

import { stepClock } from "../clock.js";
import { differences, networkName, summary } from "../differences.js";
import { fill, h, select } from "../dom.js";
import { register, setQuery } from "../router.js";
import { getDocument } from "../source.js";
import { missing } from "../study.js";

register("/diff", async ({ study, query }) => {
  const diff = await getDocument("diff");
  const known = diff?.networks ?? [];
  return {
    title: "Differences",
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Differences"),
        h("h1", {}, known.length ? `${study.model.name} beside ${known.length === 1 ? known[0].name : `${known.length} networks`}` : "This network beside another")),
      known.length ? shown(study, diff, query.get("with"))
        : missing(study, "diff", "This network was not compared with another: `innersight study MODEL IMAGES --out STUDY --compare OTHER`."),
      known.length && study.how.diff ? h("details", { class: "how" }, h("summary", {}, "How this was computed"), h("p", {}, study.how.diff)) : null),
  };
});

function shown(study, diff, wanted) {
  const { networks } = diff;
  const lead = h("p", { class: "lead", "aria-live": "polite" });
  const body = h("div", {});
  let drawn = false;
  const show = (at) => {
    if (drawn) setQuery({ with: at ? String(at) : null });
    drawn = true;
    lead.textContent = summary(study, diff, networks[at]);
    fill(body, differences(study, diff, networks[at]));
  };
  const first = Number(wanted) in networks ? Number(wanted) : 0;
  return [lead, chooser(networks, first, show), body];
}

/** What chooses the other network: a slider for epochs that rise, a list for other networks, nothing for one. */
function chooser(networks, first, show) {
  const epochs = networks.map(({ epoch }) => epoch);
  if (networks.length > 1 && epochs.every((epoch, i) => epoch !== null && (i === 0 || epoch > epochs[i - 1]))) {
    const clock = stepClock(epochs, "epoch", "Epoch beside this network", first);
    clock.follow((epoch) => show(epochs.indexOf(epoch)));
    return clock.element;
  }
  show(first);
  return networks.length > 1 ? h("div", { class: "toolbar" }, select("Compared with",
    networks.map((one, i) => [String(i), networkName(one) === one.name ? one.name : `${one.name}, ${networkName(one)}`]), String(first), (value) => show(Number(value)))) : null;
}
