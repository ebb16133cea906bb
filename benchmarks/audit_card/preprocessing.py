"""Networks that are fed otherwise than they were trained: does the audit say what to type, and only then?"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image as PILImage

import innersight as ins
from benchmarks.audit_card.cases import FIRST_HONEST, LEARNED, chosen_labels, made, taken, write_images
from benchmarks.audit_card.outcome import Figure, Outcome, audited, lines, share
from benchmarks.audit_card.pool import CLASSES, SIDE, TRAIN, Pixels
from benchmarks.audit_card.training import WIDTH, keep, small, train
from innersight.input_spec import InputSpec
from innersight.model import Model

EACH, TALL = 60, 96
"""Images of each class in the audited folder, and their height: they are SIDE px wide, and networks take squares. The
middle of such an image lacks the hats."""
FIT: dict[str, Any] = {"fit": "squash", "crop": 1.0, "resample": "bilinear", "display": (0, 1, 2)}
IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF: dict[str, Any] = {"mean": 0.5, "std": 0.5}
UNIT: dict[str, Any] = {"mean": 0.0, "std": 1.0}
BYTES: dict[str, Any] = {"mean": 0.0, "std": 1 / 255}
TRAINED: tuple[dict[str, Any], ...] = ({"mean": 0.5, "std": 0.25}, UNIT, IMAGENET, HALF, BYTES)
"""How each of the networks is fed in training; the last one is a Keras network, fed 0..255 as many of these are."""
KERAS = len(TRAINED) - 1
SEED = 200


def _spec(**stated: Any) -> InputSpec:
    return InputSpec(SIDE, SIDE, 3, **{**FIT, **stated})


def _bytes(right: InputSpec) -> InputSpec:
    return _spec(**(UNIT if right == _spec(**BYTES) else BYTES))


def _range(right: InputSpec) -> InputSpec:
    return _spec(**(UNIT if right == _spec(**HALF) else HALF))


def _mean(right: InputSpec) -> InputSpec:
    # That of ImageNet hardly differs from 0.5 and 0.25: no network suffers from it.
    return _spec(**(UNIT if right in (_spec(**IMAGENET), _spec(**TRAINED[0])) else IMAGENET))


def _bgr(right: InputSpec) -> InputSpec:
    return right


def _crop(right: InputSpec) -> InputSpec:
    return replace_spec(right, fit="crop", crop=0.875)


def _size(right: InputSpec) -> InputSpec:
    return replace_spec(right, height=112, width=112)


def replace_spec(spec: InputSpec, **changed: Any) -> InputSpec:
    """Return a contract with some fields changed, none of them guessed."""
    return replace(spec, **changed, guessed=())


MISTAKES: dict[str, Callable[[InputSpec], InputSpec]] = {
    "0..255": _bytes,
    "-1..1": _range,
    "mean and std": _mean,
    "BGR": _bgr,
    "crop": _crop,
    "size": _size,
}
"""From the contract that a network was trained with to the one that it is loaded with. For BGR the network changes."""


def jobs(quick: bool) -> list[tuple[str, int]]:
    """Return mistake ("none": fed rightly) and number of the network."""
    numbers = (0, KERAS) if quick else range(len(TRAINED))
    return [(mistake, number) for number in numbers for mistake in ("none", *MISTAKES)]


def judge(mistake: str, number: int) -> Outcome:
    """Audit one network, fed wrongly in one way."""
    folder = made(f"fed-{number}", partial(_make, number), __file__)
    right = _spec(**TRAINED[number])
    wrong = right if mistake == "none" else MISTAKES[mistake](right)
    model = _loaded(folder, number, wrong)
    if mistake == "BGR":
        _reverse(model)
    found = audited(model, folder / "images", ["preprocessing"])
    told = [one for one in found.findings if one.check == "preprocessing" and one.confirmed]
    hits = [one for one in told if mistake != "none" and cured(one.next, wrong, right, mistake == "BGR")]
    table = ins.predict(model, folder / "images").confusion()
    return Outcome(
        "preprocessing",
        mistake,
        SEED + number,
        "" if mistake == "none" else f"{mistake}{', Keras' if number == KERAS else ''}",
        None if mistake == "none" else bool(hits),
        "",
        lines(hits),
        tuple(f"{line}. {one.next}" for line, one in zip(lines(told), told, strict=True) if one not in hits),
        numbers={"accuracy": float(table.diag().sum() / table.sum())},
    )


def cured(told: str, wrong: InputSpec, right: InputSpec, reversed_: bool) -> bool:
    """Return whether doing what is told feeds the network as it was trained."""
    if reversed_ != bool(re.search("reverse the input channels", told)):
        return False
    stated = dict(part.split("=") for part in "".join(re.findall(r"MODEL\?(\S+)", told)).rstrip(".").split("&") if part)
    fields: dict[str, Any] = {}
    for key, text in stated.items():
        if key in ("mean", "std"):
            fields[key] = tuple(map(float, text.split(","))) * (1 if "," in text else 3)
        elif key == "size":
            fields["height"], fields["width"] = [int(side) for side in text.split("x")] * (1 if "x" in text else 2)
        else:
            fields[key] = float(text) if key == "crop" else text
    new = replace_spec(wrong, **fields)
    if (new.height, new.width, new.fit) != (right.height, right.width, right.fit):
        return False
    return np.allclose((new.mean, new.std), (right.mean, right.std), rtol=0.02, atol=0.002)


def _make(number: int, folder: Path) -> None:
    seed = SEED + number
    labels = chosen_labels(seed)
    # In their own colours: where colour tells nothing, red and blue may be exchanged.
    learned = taken(labels, 0, TRAIN, LEARNED, seed, "own")
    tall = taken(labels, TRAIN, FIRST_HONEST, EACH, seed, "own")
    write_images(folder / "images", labels, [[_resized(one, TALL) for one in own] for own in tall], seed)
    squashed = np.stack([_resized(_resized(one, TALL), SIDE) for one in np.concatenate(learned)])
    targets, spec = np.repeat(np.arange(CLASSES), LEARNED), _spec(**TRAINED[number])
    if number == KERAS:
        net = _keras(seed)
        train(_Nchw(net), squashed, targets, seed, spec=spec)
        net.save(folder / "net.keras")
    else:
        own = small(CLASSES, seed)
        train(own, squashed, targets, seed, spec=spec)
        keep(folder / "run", own, labels, spec)


def _resized(pixels: Pixels, height: int) -> Pixels:
    return np.asarray(PILImage.fromarray(pixels).resize((SIDE, height), PILImage.Resampling.BILINEAR))


def _loaded(folder: Path, number: int, spec: InputSpec) -> Model:
    if number == KERAS:
        return ins.load(f"keras:{folder / 'net.keras'}", input=spec, labels=chosen_labels(SEED + number))
    return ins.load(f"run:{folder / 'run'}", input=spec)


def _reverse(model: Model) -> None:
    """Make of a network for RGB one for BGR."""
    with torch.no_grad():
        first = next(one for one in model.net.parameters() if one.ndim == 4)
        first.copy_(first.flip(first.shape.index(3, 1)))


def _keras(seed: int) -> Any:
    """Return a small convolutional network of Keras, as its own examples have them."""
    from innersight.sources.origins.keras import library

    keras = library()
    keras.utils.set_random_seed(seed)
    layers: list[Any] = [keras.Input((SIDE, SIDE, 3))]
    for width, stride in ((WIDTH, 2), (2 * WIDTH, 2), (4 * WIDTH, 2), (4 * WIDTH, 1)):
        layers += [
            keras.layers.Conv2D(width, 5 if len(layers) == 1 else 3, stride, padding="same", use_bias=False),
            keras.layers.BatchNormalization(momentum=0.9),
            keras.layers.ReLU(),
        ]
    return keras.Sequential([*layers, keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(CLASSES)])


class _Nchw(torch.nn.Module):
    """A Keras network, which reads channels last, as the training loop feeds it."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.net(x.permute(0, 2, 3, 1), training=self.training)
        return found


def figures(outcomes: Sequence[Outcome]) -> list[Figure]:
    """Return the lines of the card."""
    planted = [one for one in outcomes if one.hit is not None]
    rights = [one for one in outcomes if one.hit is None]
    each = ", ".join(
        f"{name} {share(sum(bool(o.hit) for o in planted if o.kind == name), sum(o.kind == name for o in planted))}"
        for name in MISTAKES
    )
    hits = share(sum(bool(one.hit) for one in planted), len(planted))
    return [
        Figure("preprocessing mistakes named, and how to mend them", "29 of 30", f"{hits} ({each})"),
        Figure("false alarms on networks fed rightly", "0", share(sum(bool(one.wrong) for one in rights), len(rights))),
    ]
