"""The panels of a study, one file each: see `innersight.study.panel`. `web/static/panels/NAME.js` shows them."""
