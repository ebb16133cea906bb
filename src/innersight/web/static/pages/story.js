/** The start page: the whole story in the order a reader needs. */

import { h } from "../dom.js";
import { register } from "../router.js";
import { getDocument } from "../source.js";
import { loadLayer, storyLayers } from "../study.js";
import { aboutSection } from "../sections/about.js";
import { classesSection } from "../sections/classes.js";
import { compareSection } from "../sections/compare.js";
import { evidenceSection } from "../sections/evidence.js";
import { mapsSection } from "../sections/activations.js";
import { modelSection, opening } from "../sections/model.js";
import { patternsSection } from "../sections/patterns.js";
import { imagesSection } from "../sections/images.js";
import { trainingSection } from "../sections/training.js";

register("/", async ({ study, query }) => {
  const [layers, classes, heatmaps, train, trust] = await Promise.all([
    storyDocuments(study), ...["classes", "heatmaps", "train", "trust"].map(getDocument)]);
  const body = h("div", { class: "story" },
    opening(study, layers),
    modelSection(study, layers, { classes, heatmaps, train, trust }),
    imagesSection(study),
    mapsSection(study, layers),
    compareSection(study, layers),
    patternsSection(study, layers),
    classesSection(study, classes),
    evidenceSection(study, heatmaps),
    trainingSection(study, train),
    aboutSection(study));
  const at = query.get("at");
  return { title: "", body, arrive: () => at && document.getElementById(at)?.scrollIntoView({ block: "start" }) };
});

async function storyDocuments(study) {
  const entries = storyLayers(study);
  const documents = await Promise.all(entries.map((entry) => loadLayer(study, entry.name)));
  return new Map(entries.map((entry, i) => [entry.name, documents[i]]).filter(([, layer]) => layer));
}
