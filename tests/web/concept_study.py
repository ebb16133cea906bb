"""The study of web_fixture with a set of concepts of its layer stages.2, hostile to markup."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from web_drawing import colour_sheet, value_sheet
from web_fixture import HOSTILE_LABEL, HOSTILE_LAYER, _layer, write_study

LAYER, NAME = "stages.2", "nmf"
ADDRESS = f"{LAYER}~{NAME}"
CONCEPTS = 6
LABEL = "<img src=x onerror=alert(1)> hair"
VALUES = {"p0": [0.02, 2.5, -1.0, 0.25, 3.5, 0.01], "p1": [1.5, 0.1, 0.2, 0.0, -0.5, 0.0]}
REST, MISSING = 0.5, 0.01


def write_concepts(folder: Path) -> Path:
    """Write a study with concepts into a folder, and return it."""
    write_study(folder)
    documents, files = folder / "web" / "documents", folder / "web" / "files"
    random = np.random.default_rng(1)
    study = json.loads((documents / "study.json").read_text())
    for path in (documents / "layer").iterdir():
        write(path, {"atlas": None, **json.loads(path.read_text())})
    seen = [random.integers(0, 255, (96, 96, 3)).astype(np.uint8) for _ in range(2)]
    at = [row["name"] for row in study["layers"]].index(LAYER)
    row = {**study["layers"][at], "name": ADDRESS, "kind": "Concepts", "role": "concept", "units": CONCEPTS}
    study["layers"].insert(at + 1, {**row, "parameters": 0, "reads": LAYER, "document": f"layer/{ADDRESS}"})
    study["how"]["concepts"] = "Contribution: integrated gradients."
    write(documents / "study.json", study)
    layer = _layer(ADDRESS, CONCEPTS, 6, seen, files, random)
    maps = [planted(i) for i in range(2)]
    for i, stack in enumerate(maps):
        lo, hi = np.zeros(CONCEPTS), stack.max(axis=(1, 2))
        sheet = value_sheet(stack, lo, hi, files, f"concepts-p{i}")
        mean = stack.mean(axis=(1, 2)).tolist()
        layer["activations"][f"p{i}"] = {"sheet": sheet, "lo": lo.tolist(), "hi": hi.tolist(), "mean": mean}
    layer |= {"scan": None, "examples": None, "ablation": None, "connections": None, "compare": None, "atlas": None}
    write(documents / "layer" / f"{quote(ADDRESS, safe='')}.json", layer)
    write(documents / "concepts.json", {"sets": [concepts(study, seen, files)]})
    return folder


def write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps({"format": 2, **document}, allow_nan=False), encoding="utf-8")


def planted(image: int) -> np.ndarray:
    """Maps (6, 6, 6) in which concept 4 is strong on the left and 1 on the right; of the second image 0 everywhere."""
    maps = np.zeros((CONCEPTS, 6, 6))
    if image == 0:
        maps[4, :, :3], maps[1, :, 3:], maps[1, :, :3] = 5.0, 4.0, 1.0
    else:
        maps[0] = 2.0
    return maps


def concepts(study: dict[str, Any], seen: list[np.ndarray], files: Path) -> dict[str, Any]:
    labels = study["model"]["labels"]
    first = [image["prediction"][0] for image in study["images"]]
    rows = [
        {"concept": k, "name": f"ambra/<b>{k}</b>.png", "value": 3.0 - k / 10} for k in range(CONCEPTS) for _ in "12"
    ]
    crops = np.stack([seen[i % 2] for i in range(len(rows))])
    masks = np.ones((len(rows), 24, 24))
    return {
        "address": ADDRESS,
        "layer": LAYER,
        "name": NAME,
        "kind": "nmf",
        "title": "Non-negative matrix factorization",
        "unit": "logits",
        "definition": "Contribution: integrated gradients.",
        "images": 200,
        "vectors": 20000,
        "measured": 64,
        "covered": 0.93,
        "variance": 0.8,
        "seeds": 0.95,
        "halves": None,
        "own": False,
        "notes": ["<i>none</i>"],
        "skipped": [],
        "order": [4, 1, 0, 2, 3, 5],
        "concepts": [card(k, labels) for k in range(CONCEPTS)],
        "examples": {
            "rows": rows,
            "sheet": colour_sheet(crops, files, "concept-crops"),
            "masks": value_sheet(masks, np.zeros(len(rows)), np.ones(len(rows)), files, "concept-masks"),
        },
        "shown": {
            name: {
                "class": first[i]["class"],
                "label": first[i]["label"],
                "score": sum(values) + REST + MISSING,
                "rest": REST,
                "missing": MISSING,
                "values": values,
                "groups": ([4, 1, 2, 3], [0, 4, 2, 1])[i],
            }
            for i, (name, values) in enumerate(VALUES.items())
        },
    }


def card(k: int, labels: list[str]) -> dict[str, Any]:
    # Concept 2 counts for the class with a hostile name first of all.
    order = [7, 0] if k == 2 else [0, 7]
    classes = [
        {
            "class": number,
            "label": labels[number],
            "images": 10,
            "contribution": {"value": (3.0 - k / 2) * (1 - 2 * i), "interval": [1.0, 4.0] if k else None},
            "removal": {"value": (k / 2 - 3.0) * (1 - 2 * i), "interval": [-4.0, -1.0] if k else None, "p": 0.001},
        }
        for i, number in enumerate(order)
    ]
    return {
        "label": {"label": LABEL, "by": "overlap", "score": 0.31, "interval": [0.2, 0.4]} if k == 4 else None,
        "classes": classes,
        "share": 0.5 / (k + 1),
        "variance": 0.1,
        "seeds": 0.99,
        "halves": None,
        "units": [{"unit": 3 + k, "weight": 0.6}, {"unit": 50, "weight": -0.2}],
    }


__all__ = ["ADDRESS", "HOSTILE_LABEL", "HOSTILE_LAYER", "LABEL", "LAYER", "NAME", "VALUES", "write_concepts"]

if __name__ == "__main__":
    from innersight.web.report import write_report

    target = Path(sys.argv[1])
    print(write_report(write_concepts(target), target / "report.html"))
