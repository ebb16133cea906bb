"""A study's web folder made of drawn images and computed filters: realistic to look at, hostile to markup."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image as PILImage
from web_drawing import Array, colour_sheet, pattern, respond, tint, value_sheet, wavelet

from innersight import toons
from innersight.study.documents import jsonable

HOSTILE_LABEL = '</script><script>alert("label")</script>'
HOSTILE_NAME = 'it\'s <script>alert(1)</script> "quoted".png'
HOSTILE_LAYER = 'head/<b>"odd"</b>&%2F'
SIDE = 96
LOST = {"grad-cam": 0.05, "occlusion": 6.1, "gradient": 2.25, "layer-cam": 0.0}
DRAWN = 200  # units of a layer, at most, that have a pattern
LAYERS = (("stem.conv", 32, 48), ("stages.0", 48, 24), ("stages.1", 64, 12), ("stages.2", 96, 6), (HOSTILE_LAYER, 8, 1))


def write_study(folder: Path, *, many: int | None = None) -> Path:
    """Write `folder/web` and return `folder`; `many` is the number of units of the layer stages.2."""
    random = np.random.default_rng(0)
    documents, files = folder / "web" / "documents", folder / "web" / "files"
    (documents / "layer").mkdir(parents=True)
    files.mkdir()
    labels = [*toons.CLASSES[:7], HOSTILE_LABEL]
    drawn = [np.asarray(toons.draw(toons.CLASSES[i], seed).pixels) for i, seed in ((0, 3), (2, 8))]
    wide = PILImage.fromarray(drawn[1]).resize((480, 360))
    PILImage.fromarray(drawn[0]).resize((384, 384)).save(files / "original-p0.webp")
    wide.save(files / "original-p1.webp")
    seen = [drawn[0], np.asarray(wide.crop((60, 0, 420, 360)).resize((SIDE, SIDE)))]
    names = ["ambra at the beach.png", HOSTILE_NAME]
    boxes = [[0, 0, 384, 384], [60, 0, 420, 360]]
    images = [
        {
            "id": f"p{i}",
            "name": names[i],
            "width": (384, 480)[i],
            "height": (384, 360)[i],
            "box": boxes[i],
            "notes": [[], ["transparent parts laid on white"]][i],
            "original": {"file": f"original-p{i}.webp", "width": (384, 480)[i], "height": (384, 360)[i]},
            "truth": [labels[0], labels[2]][i],
            "prediction": _prediction(labels, [0, 7][i], random),
        }
        for i in range(2)
    ]
    layers = []
    for name, count, grid in LAYERS:
        count = many if many and name == "stages.2" else count
        key = f"layer/{name}"
        _write(documents / "layer" / f"{quote(name, safe='')}.json", _layer(name, count, grid, seen, files, random))
        layers.append(
            {
                "name": name,
                "kind": "Conv2d" if grid > 1 else "Linear",
                "role": "conv" if grid > 1 else "linear",
                "units": count,
                "grid": [grid, grid],
                "parameters": count * 27,
                "document": key,
            }
        )
    layers.insert(1, {**layers[0], "name": "stem.norm", "kind": "BatchNorm2d", "role": "norm", "document": None})
    _write(
        documents / "study.json",
        {
            "format": 2,
            "title": "Eight drawn characters",
            "created": "2025-03-14T09:26:53Z",
            "version": "0.1.0",
            "model": {
                "name": "toon <b>net</b>",
                "source": "toon",
                "parameters": 1_234_567,
                "labels": labels,
                "notes": ["The resize filter was not stated: bilinear."],
                "warnings": ["<b>bn1</b> gets values about 200 times larger than in training."],
                "input": {
                    "channels": 3,
                    "height": SIDE,
                    "width": SIDE,
                    "mean": [0.5, 0.5, 0.5],
                    "std": [0.25, 0.25, 0.25],
                    "fit": "crop",
                    "crop": 1.0,
                    "resample": "bilinear",
                },
            },
            "images": images,
            "seen": colour_sheet(np.stack(seen), files, "seen"),
            "layers": layers,
            "default_layers": [name for name, _, grid in LAYERS if grid > 1],
            "how": {
                "findings": "Hypotheses of one half of the images, tested on the other.",
                "activations": "Raw activations of one forward pass, before any scaling.",
                "compare": "Score: strength times sparsity times agreement over the images.",
                "patterns": "Gradient ascent on a Fourier image under random shifts and scales, 128 steps.",
                "heatmaps": "Grad-CAM and occlusion of the class's logit.",
                "training": "Recorded at every 20th step.",
            },
            "missing": [{"what": "examples", "why": "No data set was scanned; run innersight scan."}],
            "timing": [{"what": "activations", "seconds": 0.41}, {"what": "patterns", "seconds": 38.2}],
            "skipped": ["broken<i>.jpg: not an image"],
        },
    )
    _write(documents / "findings.json", _findings(seen, files))
    _write(documents / "classes.json", _classes(labels, files, random))
    _write(documents / "heatmaps.json", _heatmaps(images, seen, files))
    _write(documents / "training.json", {**_train(labels, random), "images": _fixed(labels, seen, files, random)})
    _write(
        documents / "trust.json",
        {
            "sentence": "On toy, grad-cam may be believed; occlusion should not be.",
            "note": "12 images, 10 steps.",
            "images": 12,
            "methods": {
                "grad-cam": {"standing": "believed", "why": "grad-cam is better than <b>chance</b>."},
                "occlusion": {"standing": "doubtful", "why": "occlusion is worse than edges."},
            },
            "left_out": [],
        },
    )
    return folder


def _write(path: Path, document: dict[str, Any]) -> None:
    text = json.dumps({"format": 2, **jsonable(document)}, allow_nan=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")


def _prediction(labels: Sequence[str], first: int, random: np.random.Generator) -> list[dict[str, Any]]:
    logits = random.normal(0, 1, len(labels))
    logits[first] += 5
    share = np.exp(logits) / np.exp(logits).sum()
    order = np.argsort(-share)[:5]
    return [
        {"class": int(c), "label": labels[c], "probability": float(share[c]), "logit": float(logits[c])} for c in order
    ]


def _layer(
    name: str, units: int, grid: int, seen: Sequence[Array], files: Path, random: np.random.Generator
) -> dict[str, Any]:
    stem = quote(name, safe="").replace("%", "_")
    signed = grid == 48
    filters = [wavelet(9, unit, units) for unit in range(units)]
    maps, stacks = {}, []
    for i, image in enumerate(seen):
        grey = image.astype(float).mean(axis=2) / 255
        stack = np.stack([respond(grey, kernel, grid) for kernel in filters])
        stack = stack if signed else np.maximum(stack, 0)
        stack[3 % units] = 0
        stacks.append(stack)
        lo, hi = stack.min(axis=(1, 2)), stack.max(axis=(1, 2))
        maps[f"p{i}"] = {
            "sheet": value_sheet(stack, lo, hi, files, f"{stem}-maps-p{i}"),
            "lo": lo.tolist(),
            "hi": hi.tolist(),
            "mean": stack.mean(axis=(1, 2)).tolist(),
        }
    colours = random.uniform(0.25, 1, (units, 3))
    drawn = min(units, DRAWN)
    patterns = np.stack([pattern(u, units, colours[u], grid) for u in range(drawn)])
    natural = np.maximum(*(stack.max(axis=(1, 2)) for stack in stacks))
    score: list[dict[str, Any]] = []
    for unit in range(drawn):
        reached = float(natural[unit] * random.uniform(0.8, 4))
        ratio = reached / float(natural[unit]) if natural[unit] > 0 else None
        flags = ["dead"] if ratio is None else ["below natural"] if ratio < 1 else []
        score.append(
            {
                "activation": reached, "start": 0.0, "natural": float(natural[unit]), "ratio": ratio,
                "p999": float(natural[unit]), "p999_ratio": ratio, "held": 0.9 * reached, "agreement": 0.8,
                "grain": 0.1, "steps": 64, "converged": True, "flags": flags,
            }
        )  # fmt: skip
    strength = np.stack([stack.max(axis=(1, 2)) for stack in stacks], axis=1)
    order = np.argsort(-strength.min(axis=1))[: max(4, units // 2)]
    rank = [
        {
            "unit": int(u),
            "score": float(strength[u].min()),
            "strength": strength[u].tolist(),
            "sparsity": [0.8, 0.7],
            "agreement": 0.9,
            "reason": "strong in few places of both images",
        }
        for u in order
    ]
    growth = np.stack([255 - patterns, patterns // 2, patterns], 1).reshape(-1, *patterns.shape[1:])
    weights = None
    if grid == 48:
        tiles = np.stack([tint(wavelet(7, u, units), colours[u]) for u in range(units)])
        weights = {"sheet": colour_sheet(tiles, files, f"{stem}-weights", suffix="png")}
    return {
        "name": name,
        "kind": "Conv2d" if grid > 1 else "Linear",
        "units": units,
        "grid": [grid, grid],
        "prefix": 0,
        "activations": maps,
        "signed": signed,
        "patterns": {
            "sheet": colour_sheet(patterns, files, f"{stem}-patterns"),
            "others": {"sheet": colour_sheet(patterns[:, ::-1], files, f"{stem}-others"), "each": 1},
            "growth": {"sheet": colour_sheet(growth, files, f"{stem}-growth"), "stages": [0, 8, 128]},
            "units": list(range(drawn)),
            "settings": {"steps": 128, "size": 128, "learning_rate": 0.05, "image": "fourier"},
            "score": score,
        }
        if grid > 1
        else None,
        "compare": {"images": ["p0", "p1"], "definition": "strength × sparsity × agreement", "rank": rank}
        if grid > 1
        else None,
        "negatives": {
            "sheet": colour_sheet(255 - patterns[:4], files, f"{stem}-negatives"),
            "units": list(range(min(4, units))),
            "settings": {"steps": 128},
            "score": [{**score[u], "activation": -score[u]["activation"]} for u in range(min(4, units))],
        }
        if grid > 1
        else None,
        "weights": weights,
        "field": _field(grid),
        "scan": _scan(units, natural, random) if grid > 1 else None,
        "examples": _examples(seen, units, files, stem) if grid > 1 else None,
        "ablation": _ablation(units, random) if 1 < grid <= 12 and units <= DRAWN else None,
        "connections": _connections(units, grid) if grid > 1 and units <= DRAWN else None,
    }


def _connections(units: int, grid: int) -> dict[str, Any]:
    names = [name for name, _, _ in LAYERS]
    at = next(i for i, layer in enumerate(LAYERS) if layer[2] == grid)
    ends = [("in", names[at - 1] if at else "input"), ("out", names[at + 1]), ("out", "class")]
    return {
        "definition": "By attribution: gradient times activation.",
        "notes": ["<i>one</i> note"],
        "links": [
            {"direction": way, "by": "attribution", "layer": name, "title": f"{way} {name}"} for way, name in ends
        ],
        "units": list(range(units)),
        "rows": [
            [[{"unit": (u + i) % 3, "value": 0.5 - 0.2 * i, "share": 0.4 - 0.1 * i} for i in range(4)] for _ in ends]
            for u in range(units)
        ],
    }


def _field(grid: int) -> dict[str, Any]:
    """The field of 3x3 convolutions of stride 2, padded by 1: half a stride off the middle of its cell."""
    stride = SIDE // grid
    size = min(SIDE, 4 * stride - 1)
    middle = (grid - 1) // 2 * stride + 0.5
    return {
        "size": [size, size],
        "effective": [max(1, size // 2)] * 2,
        "stride": [stride, stride],
        "middle": [middle, middle],
    }


def _scan(units: int, natural: Array, random: np.random.Generator) -> dict[str, Any]:
    share = random.uniform(0, 1, units)
    share[3 % units] = 0
    index = random.uniform(0, 1, units)
    best = random.integers(0, 7, units)
    return {
        "images": 400,
        "dead": [3 % units],
        "always_active": [5 % units],
        "active": (0.3 * share).tolist(),
        "positive": share.tolist(),
        "mean": (0.1 * natural).tolist(),
        "highest": (1.2 * natural).tolist(),
        "p999": natural.tolist(),
        "selectivity": {
            "best": best.tolist(),
            "index": index.tolist(),
            "low": (index - 0.05).tolist(),
            "high": (index + 0.05).tolist(),
            "share": (index**2).tolist(),
        },
        "classes": [
            [
                [label, float(2.0 - 0.2 * i), 40]
                for i, label in enumerate(np.roll([*toons.CLASSES[:7], HOSTILE_LABEL], -int(b)))
            ]
            for b in best
        ],
    }


def _examples(seen: Sequence[Array], units: int, files: Path, stem: str) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    crops, masks = [], []
    y, x = np.mgrid[-1:1:20j, -1:1:20j]
    bands = ["top"] * 6 + [0.75, 0.5, 0.25] + ["low"] * 3
    for unit in range(min(units, 12)):
        for i, band in enumerate(bands):
            image = PILImage.fromarray(seen[i % 2])
            left, top = (7 * unit + 11 * i) % 56, (13 * unit + 5 * i) % 56
            crops.append(np.asarray(image.crop((left, top, left + 40, top + 40)).resize((80, 80))))
            masks.append(np.exp(-3 * ((x - 0.1 * i % 1) ** 2 + y**2)))
            value = 3.0 - 0.3 * i
            rows.append(
                {
                    "unit": unit, "band": band, "value": value, "name": f"{HOSTILE_NAME}/{i}.png", "copies": i % 2,
                    "class": [toons.CLASSES[0], HOSTILE_LABEL][i % 2], "of": None, "image": i % 2,
                    "box": [left / SIDE, top / SIDE, (left + 40) / SIDE, (top + 40) / SIDE],
                }
            )  # fmt: skip
    # The highest of one class were asked for, of one unit.
    rows.append({**rows[0], "value": 1.25, "class": toons.CLASSES[1], "of": 1, "name": "asked.png"})
    crops.append(crops[0])
    masks.append(masks[0])
    stack = np.stack(masks)
    return {
        "units": list(range(min(units, 12))),
        "read": [{"unit": 0, "of": 1, "images": 128, "total": 300}],
        "rows": rows,
        "wholes": colour_sheet(np.stack(seen), files, f"{stem}-wholes"),
        "sizes": [[SIDE, SIDE], [SIDE, 72]],
        "why": None,
        "sheet": colour_sheet(np.stack(crops), files, f"{stem}-examples"),
        "masks": value_sheet(stack, np.zeros(len(stack)), np.ones(len(stack)), files, f"{stem}-masks"),
    }


def _ablation(units: int, random: np.random.Generator) -> dict[str, Any]:
    classes = [(0, toons.CLASSES[0]), (7, HOSTILE_LABEL)]
    change = random.normal(-0.1, 0.4, (len(classes), units)).round(4)
    return {
        "to": "zero",
        "unit": "logits",
        "closed": False,
        "definition": "Change: the score with the unit's map set to zero, minus the score without.",
        "classes": [
            {"class": number, "label": label, "note": f"1 image predicted as {label}", "mean": row.tolist()}
            for (number, label), row in zip(classes, change, strict=True)
        ],
        "own": {
            f"p{i}": {"class": number, "label": label, "change": change[i].tolist()}
            for i, (number, label) in enumerate(classes)
        },
    }


def _classes(labels: Sequence[str], files: Path, random: np.random.Generator) -> dict[str, Any]:
    tiles = np.stack([pattern(i + 3, 11, random.uniform(0.3, 1, 3), 6) for i in range(len(labels))])
    score = [{"activation": 9.0 + i, "natural": 6.0, "ratio": (9.0 + i) / 6, "flags": []} for i in range(len(labels))]
    return {
        "patterns": {
            "sheet": colour_sheet(tiles, files, "classes"),
            "classes": list(range(len(labels))),
            "labels": list(labels),
            "settings": {"steps": 256},
            "score": score,
            "natural": {
                "sheet": colour_sheet(tiles[:, ::-1], files, "classes-natural"),
                "score": [{**one, "activation": one["activation"] / 2} for one in score],
            },
        }
    }


def _heatmaps(images: Sequence[dict[str, Any]], seen: Sequence[Array], files: Path) -> dict[str, Any]:
    y, x = np.mgrid[0:1:12j, 0:1:12j]
    entries = []
    for i, image in enumerate(images):
        best = image["prediction"][0]
        blob = 3 * np.exp(-12 * ((x - 0.5) ** 2 + (y - 0.3 - 0.2 * i) ** 2))
        occlusion = blob - 1.5 * np.exp(-30 * ((x - 0.2) ** 2 + (y - 0.8) ** 2))
        grey = seen[i].astype(float).mean(axis=2) / 255
        fine = np.abs(np.gradient(grey)[0]) * np.kron(blob, np.ones((8, 8)))
        maps = {"grad-cam": blob, "occlusion": occlusion, "gradient": fine, "layer-cam": 0 * blob}
        rival = image["prediction"][1]
        cases = [(method, values, best, None) for method, values in maps.items()]
        cases += [("grad-cam", blob[:, ::-1], rival, None), ("grad-cam", blob - blob[:, ::-1], best, rival)]
        for number, (method, values, aim, against) in enumerate(cases):
            lo, hi = float(values.min()), float(values.max())
            sheet = value_sheet(values[None], np.array([lo]), np.array([hi]), files, f"heat-p{i}-{number}")
            entries.append(
                {
                    "image": image["id"],
                    "method": method,
                    "target": {
                        "class": aim["class"],
                        "label": aim["label"],
                        "logit": aim["logit"],
                        "text": "the predicted class",
                        "rival": against and against["class"],
                        "rival_label": against and against["label"],
                    },
                    "layer": {"name": "stages.2", "why": "The last layer with a grid."} if "cam" in method else None,
                    "sheet": sheet,
                    "lo": lo,
                    "hi": hi,
                    "scale": {"high": max(-lo, hi), "clipped": False},
                    "unit": "logits",
                    "grid": list(values.shape),
                    "verdict": None if hi > lo else "Every value is zero: no channel of this layer raises the class.",
                    "doubt": "Low confidence: no class has a probability above 0.31." if i == 0 else None,
                    "removal": {"score": 6.5, "lost": LOST[method], "elsewhere": 0.3, "unit": "logits"}
                    if hi > lo
                    else None,
                }
            )
    methods = {
        "grad-cam": {"title": "Grad-CAM", "paper": "Selvaraju et al. 2017", "when": "A quick first look."},
        "occlusion": {"title": "Occlusion", "paper": "Zeiler & Fergus 2014", "when": "When the truth matters."},
        "gradient": {"title": "Gradient × input", "paper": "Simonyan et al. 2013", "when": "Fine detail."},
        "layer-cam": {"title": "Layer-CAM", "paper": "Jiang et al. 2021", "when": "Earlier layers."},
    }
    return {"methods": methods, "entries": entries}


def _findings(seen: Sequence[Array], files: Path) -> dict[str, Any]:
    """A confirmed shortcut with a proof, a reliance in logits that lowers the score, a label, and four checks."""
    effect = {"value": 0.71, "interval": [0.62, 0.79], "control": 0.04, "p": 1e-5, "unit": "share of other images"}
    images = [{"name": "/data/ambra/at the beach.png", "id": "p0"}, {"name": f"/data/{HOSTILE_NAME}", "id": "p1"}]
    images += [{"name": f"/data/ambra/{i}.png", "id": None} for i in range(30)]
    empty: dict[str, Any] = {
        "class": None, "number": None, "fault": False, "effect": None, "region": None, "reason": "", "images": [],
        "images_total": 0, "next": "", "proof": None,
    }  # fmt: skip
    proof = {"sheet": colour_sheet(np.stack(seen), files, "proof"), "regions": [[0, 0, 0.3, 0.25], None]}
    rows = [
        {"check": "shortcut", "class": HOSTILE_LABEL, "number": 7, "confirmed": True, "fault": True, "effect": effect,
         "sentence": f"Unit stages.1:7, the corner, makes images {HOSTILE_LABEL}.", "reason": "same pixels",
         "next": "Look at stem.conv:3, then crop the corner away.", "region": [0, 0, 0.3, 0.25], "images": images,
         "images_total": 1234, "proof": {**proof, "captions": ["pasted: <b>now</b> it", ""]}},
        {"check": "reliance", "class": "ambra", "number": 0, "confirmed": True,
         "sentence": "ambra depends on the hair.",
         "effect": {"value": -2.4, "interval": [-3.1, 0.2], "control": 0.3, "p": 0.04, "unit": "logits"}},
        {"check": "label", "class": "no such class", "confirmed": False, "sentence": "7 labels may be wrong."},
    ]  # fmt: skip
    checked = [
        {"check": name, "title": name.capitalize(), "done": name != "leak", "sentence": f"{name} <b>looked</b> at",
         "limits": "What is the same in all classes." if name != "leak" else "", "passes": 10}
        for name in ("shortcut", "reliance", "label", "leak")
    ]  # fmt: skip
    about = {"clean": False, "images": 480, "passes": 7200, "budget": "quick", "skipped": ["a<i>.png: no image"]}
    return {
        "findings": [{**empty, **row} for row in rows],
        "checked": checked,
        "notes": ["labels are folders"],
        **about,
    }


def _train(labels: Sequence[str], random: np.random.Generator) -> dict[str, Any]:
    step = list(range(0, 600, 20))
    ease = np.exp(-np.array(step) / 150)

    def curve(values: Array, noise: float = 0.0) -> dict[str, Any]:
        return {"step": step, "value": (values * (1 + noise * random.normal(size=len(step)))).tolist()}

    def histogram(width: float) -> dict[str, Any]:
        spread = [width * (1 + 0.002 * s) for s in step]
        counts = [np.histogram(random.normal(0, w / 3, 4000) + 0.1 * w, 32, (-w, w))[0].tolist() for w in spread]
        return {"edges_low": [-w for w in spread], "edges_high": spread, "counts": counts}

    layers = {
        name: {
            "step": step,
            "weight_norm": (4 + i - 2 * ease).tolist(),
            "gradient_norm": (0.1 + 3 * ease).tolist(),
            "update_ratio": (1e-4 + 0.02 * ease**2).tolist(),
            "dead": (0.3 * (1 - ease)).tolist(),
            "weight_histogram": histogram(0.4),
            "gradient_histogram": histogram(0.01),
        }
        for i, (name, _, _) in enumerate(LAYERS)
    }
    confusion = random.integers(0, 3, (len(labels), len(labels))) + 40 * np.eye(len(labels), dtype=int)
    return {
        "scalars": {
            "train/loss": curve(2.1 * ease + 0.05, 0.1),
            "val/loss": curve(2.0 * ease + 0.2, 0.03),
            "train/accuracy": curve(1 - 0.88 * ease),
            "val/accuracy": curve(0.95 - 0.85 * ease),
            "lr": curve(0.01 * ease),
        },
        "layers": layers,
        "metrics": {
            "accuracy": 0.947,
            "images": 344,
            "interval": [0.918, 0.966],
            "per_class": {label: {"precision": 0.95, "recall": 0.94, "images": 43} for label in labels},
            "confusion": confusion.tolist(),
        },
        "recipe": {"optimizer": "SGD", "batch": 64, "epochs": 20, "arguments": {"robust": 0}},
    }


def _fixed(labels: Sequence[str], seen: Sequence[Array], files: Path, random: np.random.Generator) -> dict[str, Any]:
    """Heatmaps of two images before the first and after four epochs."""
    epochs = list(range(5))
    maps = np.stack([random.normal(0, 1, (6, 6)) * (epoch + 1) for epoch in epochs for _ in seen[:2]])
    lo, hi = maps.min((1, 2)), maps.max((1, 2))
    rows = [
        {
            "name": f"fixed {at}.png", "high": float(np.abs(maps[at::2]).max()), "signed": True,
            "target": [labels[at]] * 5, "predicted": [labels[2], *[labels[at]] * 4],
            "probability": [0.1, 0.4, 0.7, 0.8, 0.9],
        }
        for at in range(2)
    ]  # fmt: skip
    sheets = {"sheet": value_sheet(maps, lo, hi, files, "fixed-maps"), "lo": lo.tolist(), "hi": hi.tolist()}
    return {
        "title": "Grad-CAM", "layer": "stages.1", "unit": "logits", "step": [120 * epoch for epoch in epochs],
        "epoch": epochs,
        "rows": rows, "pixels": colour_sheet(np.stack(seen[:2]), files, "fixed-seen"), "maps": sheets,
    }  # fmt: skip


if __name__ == "__main__":
    from innersight.web.report import write_report

    target = Path(sys.argv[1])
    print(write_report(write_study(target), target / "report.html"))
