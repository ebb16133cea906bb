/** #/: the overview, every panel in the order a reader needs. */

import { aboutSection } from "../about.js";
import { h } from "../dom.js";
import { loadDocuments, partsOf } from "../panel.js";
import { register } from "../router.js";
import { loadLayer, storyLayers } from "../study.js";

register("/", async ({ study, query }) => {
  const [layers, documents] = await Promise.all([storyDocuments(study), loadDocuments()]);
  const shown = { study, layers, documents, query };
  const body = h("div", { class: "story" }, partsOf("story").map(({ show }) => show(shown)), aboutSection(study));
  const at = query.get("at");
  return { title: "", body, arrive: () => at && document.getElementById(at)?.scrollIntoView({ block: "start" }) };
});

async function storyDocuments(study) {
  const entries = storyLayers(study);
  const documents = await Promise.all(entries.map((entry) => loadLayer(study, entry.name)));
  return new Map(entries.map((entry, i) => [entry.name, documents[i]]).filter(([, layer]) => layer));
}
