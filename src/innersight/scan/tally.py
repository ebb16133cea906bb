"""What a scan keeps of one layer: a fixed amount, however many images there are."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.brief import brief
from innersight.scan.layer_batch import Batch, reduced
from innersight.scan.statistics import LayerSettings, Prunable, Statistic, statistics
from innersight.scan.statistics.class_sums import selectivity
from innersight.scan.statistics.correlation import pearson, stored
from innersight.scan.statistics.extremes import decode
from innersight.scan.statistics.presence import NEVER
from innersight.scan.statistics.sketch import quantile, share_above_zero

TWINS = 0.9  # correlation of units that are called twins
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 0.999)


class LayerStatistics:
    """Every statistic of one layer while images come in; see `innersight.scan.statistics`.

    settings : of every statistic. grid : (h, w) of the layer. parts : the statistics by name.
    """

    def __init__(self, settings: LayerSettings, grid: tuple[int, int]) -> None:
        self.settings, self.grid = settings, grid
        self.parts: dict[str, Statistic] = {name: statistics[name](settings) for name in statistics}

    def add(self, activation: Float[Tensor, "B units h w"], batch: Batch) -> None:
        """Add the layer's activation for the images of a batch."""
        if activation.shape[2:] != self.grid:
            self.grid = (activation.shape[2], activation.shape[3])
        values = reduced(activation, batch)
        batch.peaks[self.settings.layer] = values.peak
        for part in self.parts.values():
            part.add(values)

    def shard(self) -> "LayerStatistics":
        """Return an empty one for the next images, which rejects what could not be kept."""
        fresh = LayerStatistics(self.settings, self.grid)
        for name, part in fresh.parts.items():
            if isinstance(part, Prunable):
                part.prune(self.parts[name])
        return fresh

    def prune(self, later: "LayerStatistics") -> None:
        """Add of later images only what a further shard prunes by; see `shard`."""
        for name, part in self.parts.items():
            if isinstance(part, Prunable):
                part.merge(later.parts[name])

    def merge(self, later: "LayerStatistics") -> None:
        """Add the statistics of later images."""
        for name, part in self.parts.items():
            part.merge(later.parts[name])

    def tensors(self, names: Collection[str] | None = None) -> dict[str, Tensor]:
        """Return everything, or that of the statistics named, by `STATISTIC/name`, on the CPU."""
        return {
            f"{name}/{key}": tensor.cpu().contiguous()
            for name, part in self.parts.items()
            if names is None or name in names
            for key, tensor in part.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Resume from what `tensors` returned."""
        for name, part in self.parts.items():
            own = f"{name}/"
            part.load({key.removeprefix(own): value for key, value in tensors.items() if key.startswith(own)})


@dataclass(frozen=True, eq=False)
class Tally:
    """What the units of one layer did over all images.

    Attributes
    ----------
    raw : Mapping of str to Tensor
        The stored statistics by `STATISTIC/name`; see `innersight.scan.statistics`.
    images : int
        How many were read.
    grid : (int, int)
        (h, w) of the layer.

    """

    raw: Mapping[str, Tensor]
    images: int
    grid: tuple[int, int]

    __repr__ = brief

    @property
    def units(self) -> int:
        """How many units the layer has."""
        return len(self.raw["highest/keys"])

    @cached_property
    def value(self) -> Float[Tensor, "units kept"]:
        """The highest peaks of the unit's maps, raw, highest first; -inf where there is none."""
        return decode(self.raw["highest/keys"])[0][:, : self.images]

    @cached_property
    def image(self) -> Int[Tensor, "units kept"]:
        """Numbers of the images with these peaks; -1 where there is none."""
        return decode(self.raw["highest/keys"])[1][:, : self.images]

    @property
    def location(self) -> Int[Tensor, "units kept 2"]:
        """(y, x) of each peak in the layer's grid."""
        return self.split(self.raw["highest/locations"][:, : self.images])

    @cached_property
    def low_value(self) -> Float[Tensor, "units kept"]:
        """The lowest values of the unit's maps, raw, lowest first; +inf where there is none."""
        return -decode(self.raw["lowest/keys"])[0][:, : self.images]

    @cached_property
    def low_image(self) -> Int[Tensor, "units kept"]:
        """Numbers of the images with these lowest values; -1 where there is none."""
        return decode(self.raw["lowest/keys"])[1][:, : self.images]

    @property
    def low_location(self) -> Int[Tensor, "units kept 2"]:
        """(y, x) of each lowest value in the layer's grid."""
        return self.split(self.raw["lowest/locations"][:, : self.images])

    @property
    def positive(self) -> Int[Tensor, " units"]:
        """Images on which the unit is positive anywhere."""
        return self.raw["presence/positive"]

    @property
    def mean(self) -> Float[Tensor, " units"]:
        """Mean over images and locations, float32."""
        return (self.raw["presence/total"] / self.raw["presence/finite"].clamp(min=1)).float()

    @property
    def dead(self) -> Tensor:
        """(units,) bool: positive nowhere on any image."""
        return self.positive == 0

    @property
    def always_active(self) -> Tensor:
        """(units,) bool: positive at every location of every image."""
        return (self.raw["presence/everywhere"] == self.raw["presence/finite"]) & (self.positive > 0)

    @property
    def active(self) -> Float[Tensor, " units"]:
        """Share of locations at which the unit is positive, 0 to 1, of those that `quantile` counts; NaN for none."""
        return share_above_zero(*self._sketch)

    @property
    def not_finite(self) -> int:
        """How many maps held NaN or an infinity; these count in no other statistic."""
        return int(self.raw["presence/broken"].sum())

    @property
    def first_not_finite(self) -> int | None:
        """Number of the first image with such a map."""
        number = int(self.raw["presence/first"])
        return None if number == NEVER else number

    @property
    def _sketch(self) -> tuple[Tensor, int]:
        return self.raw["sketch/counts"], int(self.raw["sketch/first"])

    def quantile(self, share: float) -> Float[Tensor, " units"]:
        """Return a quantile of the activation over locations, within 1/32 of its value.

        Parameters
        ----------
        share
            Of the locations whose activation is lower, 0 to 1.

        Returns
        -------
        torch.Tensor
            (units,), raw.

        """
        return quantile(*self._sketch, share)

    @cached_property
    def selectivity(self) -> dict[str, Tensor] | None:
        """Which class each unit responds to most, and how selective it is; None where no image's class is known."""
        count, total, square = (self.raw[f"classes/{key}"] for key in ("count", "total", "square"))
        return selectivity(count, total, square) if len(count) else None

    @cached_property
    def correlations(self) -> dict[str, Float[Tensor, "units others"]]:
        """Correlation of the peaks of this layer's units with those of each layer that was asked for, by its name."""
        own = {key.removeprefix("correlation/"): value for key, value in self.raw.items()}
        partners = [key.removesuffix("/product") for key in own if key.endswith("/product")]
        return {partner: pearson(stored(own, partner)) for partner in partners}

    @cached_property
    def class_maps(self) -> Float[Tensor, "classes units h w"] | None:
        """Mean map of every unit over the images of each class, raw, at most 7x7; NaN for a class without images.

        None where it was not asked for, or no image's class is known.
        """
        total, count = self.raw["class-maps/total"], self.raw["classes/count"]
        return (total / count[:, :, None, None]).float() if len(total) else None

    def bands(self, unit: int, shares: Sequence[float]) -> list[tuple[float, int, float, tuple[int, int]]]:
        """Return an image of the sample for each share, whose peak is higher than on that share of the sample.

        Parameters
        ----------
        unit
            Number of the unit.
        shares
            0 to 1.

        Returns
        -------
        list of (float, int, float, (int, int))
            Share, number of the image, peak, and its location (y, x); empty where no peak is finite.

        """
        numbers, peaks = self.raw["bands/numbers"], self.raw["bands/peaks"][:, unit]
        locations = self.split(self.raw["bands/locations"][:, unit])
        order = [i for i in peaks.argsort(stable=True).tolist() if torch.isfinite(peaks[i])]
        found = []
        for share in shares if order else ():
            i = order[round(share * (len(order) - 1))]
            y, x = locations[i].tolist()
            found.append((share, int(numbers[i]), float(peaks[i]), (y, x)))
        return found

    def twins(self, layer: str) -> int | None:
        """Return how many units correlate by 0.9 or more with another unit of the layer.

        Parameters
        ----------
        layer
            The layer's own name.

        Returns
        -------
        int or None
            None where its units were not correlated.

        """
        if layer not in self.correlations:
            return None
        high = self.correlations[layer] >= TWINS
        return int((high & ~torch.eye(len(high), dtype=torch.bool)).any(1).sum())

    def summary(self, layer: str) -> dict[str, Any]:
        """Return counts of the layer's units; see `Scan.summary`.

        Parameters
        ----------
        layer
            The layer's own name.

        """
        return {
            "units": self.units,
            "grid": list(self.grid),
            "dead": int(self.dead.sum()),
            "always_active": int(self.always_active.sum()),
            "selective": None if self.selectivity is None else int((self.selectivity["share"] >= 0.1).sum()),
            "twins": self.twins(layer),
            "not_finite": self.not_finite,
        }

    def rows(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Return the statistics of every unit as plain data.

        Parameters
        ----------
        labels
            Of the model's classes.

        Returns
        -------
        list of dict
            mean, positive (share of the images), active (share of the locations, None where it is not known), quantiles
            (by share), and class (None where no image's class is known).

        """
        ranges = torch.stack([self.quantile(share) for share in QUANTILES], 1).tolist()
        active = self.active.tolist()
        classes = self.selectivity
        return [
            {
                "mean": float(self.mean[unit]),
                "positive": int(self.positive[unit]) / max(1, int(self.raw["presence/finite"][unit])),
                "active": active[unit] if active[unit] == active[unit] else None,
                "quantiles": dict(zip(map(str, QUANTILES), ranges[unit], strict=True)),
                "class": None if classes is None else _class(classes, unit, labels),
            }
            for unit in range(self.units)
        ]

    def split(self, locations: Int[Tensor, "*n"]) -> Int[Tensor, "*n 2"]:
        """Return (y, x) of locations counted as y * w + x.

        Parameters
        ----------
        locations
            (n...) whole numbers.

        Returns
        -------
        torch.Tensor
            (n..., 2) int64.

        """
        width = self.grid[1]
        return torch.stack([locations // width, locations % width], -1).long()


def _class(classes: Mapping[str, Tensor], unit: int, labels: Sequence[str]) -> dict[str, Any]:
    numbers = {key: float(values[unit]) for key, values in classes.items() if key != "best"}
    label = labels[int(classes["best"][unit])] if int(classes["best"][unit]) >= 0 else None
    return {"label": label, **{key: value if value == value else None for key, value in numbers.items()}}
