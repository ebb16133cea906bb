/** #/findings: everything that the audit found, what was checked, and what this could have missed. */

import { h } from "../dom.js";
import { checkedList, extent, findingCard, verdict } from "../finding.js";
import { register } from "../router.js";
import { getDocument } from "../source.js";
import { missing } from "../study.js";

register("/findings", async ({ study, query }) => {
  const findings = await getDocument("findings");
  const at = query.get("at");
  return {
    title: "Findings",
    arrive: () => at && document.getElementById(`finding-${at}`)?.scrollIntoView({ block: "start" }),
    body: h("section", { class: "page" },
      h("header", { class: "page-head" }, h("p", { class: "kicker" }, "Findings"),
        h("h1", {}, findings ? (findings.clean ? "Nothing confirmed" : verdict(findings)) : "What is wrong with the classifier"),
        findings ? h("p", { class: "lead" }, extent(findings)) : null),
      findings ? shown(study, findings) : missing(study, "findings",
        "The classifier was not audited. Run `innersight audit MODEL FOLDER --out STUDY`.")),
  };
});

function shown(study, findings) {
  const list = h("div", { class: "findings" }, findings.findings.map((_, at) => findingCard(study, findings, at)));
  return [findings.clean ? null : list,
    h("h2", {}, "What was checked, and what this could have missed"), checkedList(findings),
    findings.clean && findings.findings.length ? [h("h2", {}, "What else was found"), list] : null,
    study.how.findings ? h("details", { class: "how" }, h("summary", {}, "How this was computed"), h("p", {}, study.how.findings)) : null];
}
