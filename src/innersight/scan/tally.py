"""What a scan keeps of one layer: a fixed amount, however many images there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from innersight.brief import brief
from innersight.scan.kinds import KINDS, Choosy, Room, Statistic
from innersight.scan.kinds.classes import selectivity
from innersight.scan.kinds.correlation import correlation, stored
from innersight.scan.kinds.extremes import decode
from innersight.scan.kinds.presence import NEVER
from innersight.scan.kinds.sketch import quantile, share_above_zero
from innersight.scan.seen import Batch, look


class Gathering:
    """Every statistic of one layer while images come in; see `innersight.scan.kinds`.

    room : what the statistics are told. grid : (h, w) of the layer. parts : the statistics by name.
    """

    def __init__(self, room: Room, grid: tuple[int, int]) -> None:
        self.room, self.grid = room, grid
        self.parts: dict[str, Statistic] = {name: kind(room) for name, kind in KINDS.items()}

    def add(self, activation: Float[Tensor, "B units h w"], batch: Batch) -> None:
        """Take in the layer's activation for the images of a batch."""
        if activation.shape[2:] != self.grid:
            self.grid = (activation.shape[2], activation.shape[3])
        seen = look(activation, batch)
        batch.peaks[self.room.layer] = seen.peak
        for part in self.parts.values():
            part.add(seen)

    def shard(self) -> "Gathering":
        """Return an empty one for the next images, which leaves out what could not be kept anyway."""
        fresh = Gathering(self.room, self.grid)
        for name, part in fresh.parts.items():
            if isinstance(part, Choosy):
                part.expect(self.parts[name])
        return fresh

    def expect(self, later: "Gathering") -> None:
        """Take in of later images only what a further shard is told; see `shard`."""
        for name, part in self.parts.items():
            if isinstance(part, Choosy):
                part.merge(later.parts[name])

    def merge(self, later: "Gathering") -> None:
        """Take in what was gathered of later images."""
        for name, part in self.parts.items():
            part.merge(later.parts[name])

    def tensors(self) -> dict[str, Tensor]:
        """Return everything by `STATISTIC/name`, on the CPU."""
        return {
            f"{name}/{key}": tensor.cpu().contiguous()
            for name, part in self.parts.items()
            for key, tensor in part.tensors().items()
        }

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        for name, part in self.parts.items():
            own = f"{name}/"
            part.load({key.removeprefix(own): value for key, value in tensors.items() if key.startswith(own)})


@dataclass(frozen=True, eq=False)
class Tally:
    """What the units of one layer did over all images.

    raw : the stored statistics by `STATISTIC/name`; see `innersight.scan.kinds`. images : how many were seen.
    grid : (h, w).
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
    def place(self) -> Int[Tensor, "units kept 2"]:
        """(y, x) of each peak in the layer's grid."""
        return self.split(self.raw["highest/places"][:, : self.images])

    @cached_property
    def low_value(self) -> Float[Tensor, "units kept"]:
        """The lowest places of the unit's maps, raw, lowest first; +inf where there is none."""
        return -decode(self.raw["lowest/keys"])[0][:, : self.images]

    @cached_property
    def low_image(self) -> Int[Tensor, "units kept"]:
        """Numbers of the images with these lowest places; -1 where there is none."""
        return decode(self.raw["lowest/keys"])[1][:, : self.images]

    @property
    def low_place(self) -> Int[Tensor, "units kept 2"]:
        """(y, x) of each lowest place in the layer's grid."""
        return self.split(self.raw["lowest/places"][:, : self.images])

    @property
    def positive(self) -> Int[Tensor, " units"]:
        """Images on which the unit is positive anywhere."""
        return self.raw["presence/positive"]

    @property
    def mean(self) -> Float[Tensor, " units"]:
        """Mean over images and places, float32."""
        return (self.raw["presence/total"] / self.raw["presence/finite"].clamp(min=1)).float()

    @property
    def dead(self) -> Tensor:
        """(units,) bool: positive nowhere on any image."""
        return self.positive == 0

    @property
    def always_on(self) -> Tensor:
        """(units,) bool: positive at every place of every image."""
        return (self.raw["presence/everywhere"] == self.raw["presence/finite"]) & (self.positive > 0)

    @property
    def on(self) -> Float[Tensor, " units"]:
        """Share of places at which the unit is positive, 0 to 1, of those that `quantile` counts; NaN where of none."""
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
        """Return what this share of the places stays below, within 1/32 of it; see `innersight.scan.kinds.sketch`."""
        return quantile(*self._sketch, share)

    @cached_property
    def selectivity(self) -> dict[str, Tensor] | None:
        """Which class excites each unit most, and how selective it is; None where no image's class is known."""
        count, total, square = (self.raw[f"classes/{key}"] for key in ("count", "total", "square"))
        return selectivity(count, total, square) if len(count) else None

    @cached_property
    def correlations(self) -> dict[str, Float[Tensor, "units others"]]:
        """Correlation of the peaks of this layer's units with those of each layer that was asked for, by its name."""
        own = {key.removeprefix("correlation/"): value for key, value in self.raw.items()}
        partners = [key.removesuffix("/product") for key in own if key.endswith("/product")]
        return {partner: correlation(stored(own, partner)) for partner in partners}

    @cached_property
    def class_maps(self) -> Float[Tensor, "classes units h w"] | None:
        """Mean map of every unit over the images of each class, raw, at most 7x7; NaN for a class without images.

        None where it was not asked for, or no image's class is known.
        """
        total, count = self.raw["class_maps/total"], self.raw["classes/count"]
        return (total / count[:, :, None, None]).float() if len(total) else None

    def split(self, places: Int[Tensor, "*n"]) -> Int[Tensor, "*n 2"]:
        """Return (y, x) of places counted as y * w + x."""
        width = self.grid[1]
        return torch.stack([places // width, places % width], -1).long()
