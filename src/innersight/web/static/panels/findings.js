/** What an audit found in the classifier, confirmed faults first. */

import { h } from "../dom.js";
import { count, plural } from "../format.js";
import { checkedList, extent, findingCard, standing, verdict } from "../finding.js";
import { panel } from "../panel.js";
import { section } from "../section.js";
import { reason, urls } from "../study.js";

const SHOWN = 3;

panel({
  name: "findings",
  title: "Findings",
  order: 5,
  document: "findings",
  story: { href: urls.findings(), show: findingsSection },
  class: { column: "right", title: "Findings", order: 1, show: ({ documents, label }) => statements(documents, (one) => one.class === label) },
  image: { title: "Findings", order: 1, show: ({ documents, image }) =>
    statements(documents, (one) => one.images.some(({ id }) => id === image.id)) },
  table({ study, documents: { findings } }) {
    return { computed: findings ? plural(findings.findings.length, "finding") : null,
      missing: findings ? null : reason(study, "findings", "not audited"), done: 0, left: 0 };
  },
});

/** The first findings, before everything else; what was checked where there is none. */
function findingsSection({ study, documents: { findings } }) {
  if (!findings) return null;
  const all = findings.findings.length;
  const shown = Math.min(all, Math.max(1, Math.min(SHOWN, findings.findings.filter(({ fault }) => fault).length)));
  return section("findings", "Findings", verdict(findings), extent(findings), [
    findings.clean ? checkedList(findings) : null,
    h("div", { class: "findings" }, Array.from({ length: shown }, (_, at) => findingCard(study, findings, at))),
    h("p", { class: "more" }, h("a", { href: urls.findings() }, all > shown ? `Show all ${count(all)} findings, and what was checked →`
      : findings.clean ? "More on the audit →" : "What was checked, and what this could have missed →")),
  ], study.how.findings);
}

/** Findings as a list of links; null where there are none. */
function statements({ findings }, wanted) {
  const rows = (findings?.findings ?? []).map((one, at) => ({ one, at })).filter(({ one }) => wanted(one));
  return rows.length ? h("ul", { class: "statements" }, rows.map(({ one, at }) => h("li", {},
    h("span", { class: one.fault ? "badge bad" : "badge" }, standing(one)), " ",
    h("a", { href: urls.findings(at + 1) }, one.sentence)))) : null;
}
