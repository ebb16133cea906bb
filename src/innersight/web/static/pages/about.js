/** #/about: how everything was computed, and what is missing. */

import { h } from "../dom.js";
import { register } from "../router.js";
import { aboutSection } from "../about.js";

register("/about", async ({ study }) => ({ title: "About", body: h("div", { class: "page" }, aboutSection(study)) }));
