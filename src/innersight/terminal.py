"""Plain-text tables for the terminal."""

import io
import re
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from innersight.errors import printable

# A command prints one table: what the others show is not imported for it.
if TYPE_CHECKING:
    from innersight.ablation import Ablation
    from innersight.atlas import Atlas
    from innersight.audit import Audit
    from innersight.compare import Comparison
    from innersight.concepts import Concepts
    from innersight.connections import Connections
    from innersight.dissection import Dissection, WordLabels
    from innersight.find import UnitRanking
    from innersight.layer import Layer
    from innersight.matching import Matching
    from innersight.model import Model
    from innersight.patterns import Interpretability
    from innersight.predict import Prediction
    from innersight.scan import Scan, ScanPredictions
    from innersight.trust import Trust

LINE = 10_000  # columns, where no terminal says how many there are


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows under a head, columns aligned, numbers to the right; in a pipe each row is one line.

    >>> print(table(["name", "units"], [["stem", "32"], ["head", "5"]]))
    name  units
    stem     32
    head      5
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    texts = [[printable(cell) for cell in row] for row in rows]
    shown = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for title, *cells in zip(head, *texts, strict=True):
        numbers = bool(cells) and all(map(_is_number, cells))
        shown.add_column(title, justify="right" if numbers else "left", overflow="fold")
    for row in texts:
        shown.add_row(*map(Text, row))
    on_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if on_terminal else LINE
    console = Console(file=io.StringIO(), width=width, force_terminal=on_terminal)
    console.print(shown)
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def _is_number(cell: str) -> bool:
    return cell.strip("%-").replace(",", "").replace(".", "").isdigit()


def layers(model: "Model", found: "Sequence[Layer]") -> str:
    """Return the layer table with the layers a study shows marked, and how many layers cannot be read and why."""
    from innersight.layers import default_layers, unreadable, without_grid

    default, unread = default_layers(model), unreadable(model)
    measured = any(layer.receptive_field for layer in found)
    rows = [
        [
            layer.name,
            f"{layer.kind}, output{layer.part}" if layer.part else layer.kind,
            f"{layer.units:,}",
            f"{_pair(layer.grid)}{f' + {layer.prefix}' if layer.prefix else ''}",
            *(_seen(layer, model) if measured else ()),
            f"{layer.parameters:,}",
            *((f"{100 * layer.compute_share:.1f}%" if layer.compute_share is not None else "",) if measured else ()),
            "*" if layer.name in default else "",
        ]
        for layer in found
    ]
    columns = ["layer", "kind", "units", "grid"]
    columns += [
        *(("receptive field", "effective", "stride") if measured else ()),
        "parameters",
        *(("compute",) if measured else ()),
        "default",
    ]
    size = "x".join(map(str, model.input.shape))
    lines = [f"{printable(model.name)}: input {size}, {len(model.labels)} classes", "", table(columns, rows), ""]
    lines.append("default: *, one of the layers that commands use when none is named")
    listed = {layer.name for layer in found}
    unlisted = [name for name in default if name not in listed]
    if unlisted:
        lines.append(f"default layers that only --all lists: {', '.join(unlisted)}")
    if measured:
        lines.append(
            "receptive field, stride: in pixels of the network's input; effective: the part with 95% of the gradient's "
            "energy; compute: share of one forward pass"
        )
    if measured and any("#" in layer.name for layer in found):
        lines.append("NAME#2: second call of a module; its first line has the compute of all calls")
    if any(layer.prefix for layer in found):
        lines.append(
            "grid 14x14 + 1: one more token in front of those of the image, such as a class token, which is not shown"
        )
    if all(layer.grid == (1, 1) for layer in found):
        lines.append(f"{without_grid(model)}; only heatmap methods that read pixels apply")
    if unread:
        reasons: dict[str, list[str]] = {}
        for name, why in unread.items():
            reasons.setdefault(re.sub(r"\d+", "N", why), []).append(name)
        lines.append(f"{len(unread)} layers cannot be read:")
        lines += [
            f"  {names[0]}{f' (and {len(names) - 1} similar)' if len(names) > 1 else ''} {unread[names[0]]}"
            for names in reasons.values()
        ]
    return "\n".join(lines)


def _seen(layer: "Layer", model: "Model") -> tuple[str, str, str]:
    if layer.receptive_field is None or layer.receptive_field.size == (0, 0):
        return "none", "", ""
    whole = layer.receptive_field.size == (model.input.height, model.input.width)
    return (
        "whole input" if whole else _pair(layer.receptive_field.size),
        _pair(layer.receptive_field.effective),
        _pair(layer.receptive_field.stride),
    )


def _pair(sides: tuple[int, int]) -> str:
    return f"{sides[0]}x{sides[1]}"


def prediction(result: "Prediction") -> str:
    """Return the prediction of each image; of many images the count of each class and the most confident mistakes.

    Where the ground truth is known also accuracy, the table of classes and the most frequent confusions.
    """
    from innersight.predict import LISTED

    summary = result.summary()
    parts = [_each(result) if len(result.names) <= LISTED else _all(result)]
    if summary is not None and len(result.names) > 1:
        low, high = summary["interval"]
        rows = [
            [label, str(c["images"]), *(f"{c[k]:.3f}" if c[k] is not None else "-" for k in ("precision", "recall"))]
            for label, c in summary["classes"].items()
        ]
        worst = [
            printable(f"{c['ground_truth']} predicted as {c['predicted']}: {c['images']}")
            for c in summary["confusions"]
        ]
        total = summary["images"]
        seen = f"; the network was trained on {result.trained_on:,} of these images" if result.trained_on else ""
        accuracy = f"accuracy {summary['accuracy']:.4f} (95%: {low:.4f} to {high:.4f})"
        parts += [
            f"{accuracy} on {total:,} image{'s' * (total != 1)}{seen}",
            table(["class", "images", "precision", "recall"], rows),
            "\n".join(worst[:5]),
        ]
    return "\n\n".join(filter(None, parts))


def _each(result: "Prediction") -> str:
    key, form = _number(result)
    lines = []
    for i, name in enumerate(result.names):
        best = ", ".join(f"{row['label']} {row[key]:{form}}" for row in result.top(i, 3))
        wrong = (
            f"  WRONG: the ground truth is {result.row(i)['ground_truth']}" if result.row(i)["correct"] is False else ""
        )
        lines.append(printable(f"{name}: {best}{wrong}"))
    return "\n".join(lines)


def _number(result: "Prediction") -> tuple[str, str]:
    """Return which number of a class is shown, and how it is written."""
    return ("probability", ".3f") if result.model.has_probabilities else ("logit", ".3g")


def _all(result: "Prediction") -> str:
    from innersight.predict import SHOWN

    key, form = _number(result)
    counts = [f"{printable(label)} {count:,}" for label, count in result.counts()]
    more = f" and {len(counts) - 10} more classes" if len(counts) > 10 else ""
    parts = [f"{len(result.names):,} images, predicted as: {', '.join(counts[:10])}{more}"]
    wrong = result.mistakes(SHOWN)
    values = result.probabilities if result.model.has_probabilities else result.logits
    sure = values.amax(1).argsort(stable=True)[:5].tolist()
    for title, numbers in (
        ("Most confident mistakes:", wrong),
        ("Least confident predictions:", sure if not wrong else []),
    ):
        rows = [result.row(i) for i in numbers]
        if rows:
            cells = [[row["name"], row["label"], f"{row[key]:{form}}", row["ground_truth"] or ""] for row in rows]
            parts.append(f"{title}\n{table(['image', 'prediction', key, 'ground truth'], cells)}")
    return "\n\n".join([*parts, "For the prediction of every image, use --json or -o FILE.json"])


def trust(result: "Trust") -> str:
    """Return the table of methods, why each stands where it does, how it was measured, and the sentence at the end."""
    from innersight.trust import describe_column

    rows = []
    for row in result.ranked():
        own = row.values[result.score]
        low_high = "" if own.interval is None else f"{own.interval[0]:z.2f} to {own.interval[1]:z.2f}"
        cells = [f"{row.values[name].mean:z.2f}" if name in row.values else "" for name in result.shown]
        rows.append([row.name, row.standing or "baseline", f"{own.mean:z.2f}", low_high, *cells])
    few = {name: f" ({count} image{'s' * (count != 1)})" for name, count in result.few.items()}
    head = ["method", "", "score", "95%", *(name + few.get(name, "") for name in result.shown)]
    left = [f"left out: {line}" for line in result.left_out]
    columns = [result.score, *result.shown]
    better = {kind: [name for name in columns if describe_column(name).better == kind] for kind in ("high", "low")}
    best = "; ".join(f"better {kind}: {', '.join(names)}" for kind, names in better.items() if names)
    said = [best, "", *result.verdicts(), *left, "", result.note, "", result.sentence]
    return "\n".join([table(head, rows), "", *map(printable, said)])


def audit(result: "Audit") -> str:
    """Return the findings, the confirmed ones first, then what was checked and what that could have missed."""
    from innersight.audit.wording import sentences

    return "\n".join(map(printable, sentences(result)))


def comparison(result: "Comparison", limit: int = 10) -> str:
    """Return the units of highest score with the reason of each."""
    return _ranked(result.rank(limit))


def unit_ranking(result: "UnitRanking", limit: int = 8) -> str:
    """Return the units that respond most to the region, and how many were compared."""
    head = f"{len(result.order)} units of {printable(', '.join(result.maps))}"
    return f"{head}\n{_ranked(result.rank(limit))}"


def _ranked(rows: Sequence[Mapping[str, Any]]) -> str:
    return table(["unit", "score", "why"], [[row["address"], f"{row['score']:.3f}", row["reason"]] for row in rows])


def ablation(result: "Ablation", limit: int = 10) -> str:
    """Return for each class the table of the units whose ablation lowers it most, and over which images."""
    parts = []
    for label in result.shown_classes():
        rows = []
        for row in result.rank(label, limit):
            low_high = "" if row["interval"] is None else "{:z.3g} to {:z.3g}".format(*row["interval"])
            rows.append([row["address"], f"{row['mean']:z.3g}", low_high, f"{row['p']:.3f}"])
        head = ["unit", f"change ({result.model.head.unit})", "95%", "p"]
        parts += [f"{printable(label)}: {printable(result.note(label))}", "", table(head, rows), ""]
    return "\n".join(parts).rstrip()


def interpretability(found: "Interpretability") -> str:
    """Return the units by how often their explanations predict what activates them, with intervals."""
    rows = [
        [
            f"{found.layer}:{found.units[i]}",
            f"{found.score[i]:.2f}",
            f"{found.low[i]:.2f} to {found.high[i]:.2f}",
            f"{found.soft[i]:.2f}",
            f"{int(found.tasks[i])}",
        ]
        for i in found.rank()
    ]
    said = [f"chance is 0.5; by {found.explanations} {found.by} of each unit, similarity by {found.distance}"]
    if found.unscored:
        said.append(f"without a task, because they respond equally to all images: {', '.join(found.unscored)}")
    return "\n".join([table(["unit", "score", "95%", "soft", "tasks"], rows), *map(printable, said)])


def connections(result: "Connections", limit: int = 10, shown: int = 4) -> str:
    """Return the strongest connections of the first units in every link, and why a link is missing."""
    parts = []
    for unit in result.units[:shown]:
        for link in result.links:
            rows = []
            for row in result.rank(link, unit, limit):
                low_high = "" if row["interval"] is None else "{:z.3g} to {:z.3g}".format(*row["interval"])
                rows.append(
                    [row["address"], f"{row['value']:z.3g}", low_high, f"{row['size']:.3g}", f"{row['share']:.0%}"]
                )
            head = ["unit", "value", "95%", "size", "share"]
            parts += [printable(f"{result.layer}:{unit} {link}"), "", table(head, rows), ""]
    rest = len(result.units) - shown
    more = [f"{rest} more units: --json, or -o FILE.json"] if rest > 0 else []
    return "\n".join([*parts, *more, *map(printable, result.notes)]).rstrip()


def matching(result: "Matching") -> str:
    """Return for each layer what became of its units, and the correlation of partners."""
    rows = []
    for name, row in result.summary().items():
        counts = [f"{row[kind]:,}" for kind in ("units", "same", "moved", "born", "died", "silent")]
        middle = "" if row["median"] is None else f"{row['median']:.2f}"
        rows.append([name, *counts, middle, f"{row['threshold']:.2f}", f"{row['cka']:.2f}"])
    head = ["layer", "units", "same", "moved", "born", "died", "silent", "median", "chance", "CKA"]
    return f"{table(head, rows)}\n{result.images:,} images; median: correlation of partners; chance: the threshold"


def dissection(result: "Dissection | WordLabels", limit: int = 20) -> str:
    """Return how many units of each layer have which label, and the units of the surest labels."""
    rows = [
        [
            name,
            f"{row['units']:,}",
            f"{row['labelled']:,}",
            ", ".join(f"{part} {n}" for part, n in row["parts"].items()),
        ]
        for name, row in result.summary().items()
    ]
    best = [row for row in result.rank(limit=limit) if row["label"] is not None]
    columns = [
        [row["address"], row["label"], f"{row[result.measure]:.3f}", "{:.3f} to {:.3f}".format(*row["interval"]),
         "" if row["p"] is None else f"{row['p']:.3f}"]
        for row in best
    ]  # fmt: skip
    parts = [table(["layer", "units", "labelled", ""], rows)]
    if best:
        parts += ["", table(["unit", "label", result.measure, "95%", "p"], columns)]
    return "\n".join([*parts, f"{result.images:,} images"])


def atlas(found: "Atlas") -> str:
    """Return the zoom levels of an atlas, and how faithful its layout is."""
    rows = [
        [f"{one.grid} x {one.grid}", f"{len(one):,}", f"{len(found.points) / len(one):.1f}", "yes" if one.drawn else ""]
        for one in found.levels
    ]
    faith = f"trustworthiness of the layout {found.trustworthiness:.3f}"
    about = f"{found.layer}: {len(found.points):,} vectors of {found.images:,} images, {faith}"
    return "\n".join([table(["level", "cells", "vectors each", "patterns"], rows), about])


def concepts(found: "Concepts") -> str:
    """Return the concepts of a layer, those that contribute most first, with their classes and how stable they are."""
    rows = []
    for number in found.order:
        card = found.card(number)
        label, (best, *_) = card["label"], card["classes"]
        low, high = best["contribution"]["interval"] or (None, None)
        rows.append(
            [
                card["address"],
                "" if label is None else f"{label['label']} {label['score']:.2f}",
                best["class"],
                f"{best['contribution']['value']:+.2f}",
                "" if low is None else f"{low:.2f} to {high:.2f}",
                f"{best['removal']['value']:+.2f}",
                f"{card['variance']:.0%}",
                f"{card['seeds']:.2f}",
                f"{card['halves']:.2f}",
            ]
        )
    head = ["concept", "label", "class", "contribution", "95%", "removed", "variance", "seeds", "halves"]
    stated = found.to_json()
    kept = "" if stated["covered"] is None else f"; alone they keep {stated['covered']:.0%} of the score (median)"
    return (
        f"{table(head, rows)}\n{found.scan.images:,} images, effects measured on {stated['measured']}, in "
        f"{stated['unit']}; {stated['variance']:.0%} of the variance of {found.layer}{kept}"
    )


def scan(found: "Scan") -> str:
    """Return the layers of a scan with how many of their units are dead, always on, and selective for a class."""
    rows = [
        [
            name,
            f"{row['units']:,}",
            _pair((row["grid"][0], row["grid"][1])),
            f"{row['dead']:,}",
            f"{row['always_active']:,}",
            "" if row["selective"] is None else f"{row['selective']:,}",
            "" if row["twins"] is None else f"{row['twins']:,}",
            f"{row['not_finite']:,}",
        ]
        for name, row in found.summary().items()
    ]
    head = ["layer", "units", "grid", "dead", "always on", "selective", "twins", "not finite"]
    return "\n".join([table(head, rows), f"{found.images:,} images", *_predictions(found.predictions)])


def _predictions(found: "ScanPredictions | None") -> Iterator[str]:
    """Yield accuracy and calibration of a scan, and what is confused most; nothing where no class is known."""
    if found is None or found.accuracy is None:
        return
    low, high = found.interval
    error, labels = found.calibration_error(), found.model.labels
    parts = [f"accuracy {found.accuracy:.4f} (95%: {low:.4f} to {high:.4f}) on {found.labelled:,} labelled images"]
    parts += [] if error is None else [f"calibration error {error:.3f}"]
    parts += [f"the network was trained on {found.trained_on:,} of these images"] if found.trained_on else []
    yield "; ".join(parts)
    for true, predicted, count in [row for row in found.pairs() if row[0] != row[1]][:5]:
        yield printable(f"{labels[true]} predicted as {labels[predicted]}: {count:,}")
