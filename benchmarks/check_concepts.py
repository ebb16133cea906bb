"""Are concepts worth more than units? Checked on the drawn characters.

    python -m benchmarks.check_concepts

Removal: for each concept that the masks label "accessory" (hats and the like), the change of its class when it is
removed, beside the largest that any single unit of the layer reaches; paired over images that found neither. Forced
choice: how well examples of a concept predict which images activate it, beside units of the layer.
"""

from collections.abc import Iterator

import numpy as np

import innersight as ins
from innersight.concepts import Concepts
from innersight.dissection import Dissection
from innersight.model import Model
from innersight.statistics import bootstrap
from innersight.toons import Drawn

LAYER, PART = "stage4", "accessory"
FITTED, JUDGED = Drawn(per_class=20), Drawn(per_class=12, seed=9000)


def removals(model: Model, found: Concepts) -> Iterator[tuple[str, str, float, float, float, tuple[float, float]]]:
    """Yield address, class, change, that of the best unit (chosen by these images), difference and its interval."""
    assert isinstance(found.labels, Dissection)
    concepts = ins.ablate(model.with_concepts(found), JUDGED, found.address)
    units = ins.ablate(model, JUDGED, LAYER)
    for concept in range(len(found)):
        if found.labels.label(found.address, concept) != PART:
            continue
        best = found.classes(concept)[0]
        rows, number = concepts.rows(best["class"]), best["number"]
        own, others = concepts.change[rows, concept, number], units.change[rows, :, number]
        unit = others[:, int(others.mean(0).argmin())]
        difference = (own - unit).double().numpy()
        interval = bootstrap(difference)
        assert interval is not None
        yield (
            f"{found.address}:{concept}",
            best["class"],
            float(own.mean()),
            float(unit.mean()),
            float(np.mean(difference)),
            interval,
        )


def choices(model: Model, found: Concepts) -> tuple[np.ndarray, np.ndarray]:
    """Return the forced-choice score of every concept, and of as many units of the layer, spread evenly."""
    images = Drawn(per_class=12, seed=5000)
    units = list(range(0, 128, 128 // len(found)))
    concepts = ins.interpretability(model.with_concepts(found), found.address, images)
    return concepts.score.numpy(), ins.interpretability(model, LAYER, images, units).score.numpy()


def main() -> None:
    """Print both."""
    model = ins.load("toon")
    found = ins.concepts(model, FITTED, layer=LAYER, count=32)
    for address, label, own, unit, difference, (low, high) in removals(model, found):
        print(
            f"removing {address}: {label} {own:+.2f}, best unit {unit:+.2f}: "
            f"{difference:+.2f} ({low:+.2f} to {high:+.2f})"
        )
    concepts, units = choices(model, found)
    for name, scores in (("concepts", concepts), ("units", units)):
        low, high = bootstrap(scores) or (0.0, 1.0)
        print(f"forced choice, {len(scores)} {name}: {np.nanmean(scores):.3f} ({low:.3f} to {high:.3f})")


if __name__ == "__main__":
    main()
