"""What a heatmap method is given, and the registry of methods."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from innersight import tap
from innersight.brief import brief
from innersight.heatmaps.masked import batch_of
from innersight.heatmaps.shared import Pass
from innersight.heatmaps.shared import UnfitError as UnfitError
from innersight.memory_format import memory_format
from innersight.model import Model
from innersight.quotients import precise
from innersight.registry import Registry

BATCH = 16
QUICK_PASSES = 12
"""Methods with more passes through the network for each image are not "quick"."""


@dataclass(frozen=True)
class MethodOutput:
    """What a method returns.

    Attributes
    ----------
    values
        (B, h, w), raw, float64 where the method adds up or multiplies.
    error
        (B, h, w) standard error of every value, where the method draws at random until it is small.
    facts
        Further numbers, (B,) each, such as a completeness gap.

    Examples
    --------
    >>> import torch
    >>> from innersight.heatmaps import MethodOutput
    >>> MethodOutput(torch.zeros(2, 7, 7), facts={"completeness gap": torch.zeros(2)}).values.shape
    torch.Size([2, 7, 7])

    """

    values: Float[Tensor, "B h w"]
    error: Float[Tensor, "B h w"] | None = None
    facts: dict[str, Tensor] = field(default_factory=dict)

    __repr__ = brief


def relative_error(values: Tensor, error: Tensor) -> float:
    """Return the standard error of a map as a share of how much the map varies over its locations: 0 exact, 1 noise."""
    spread = float(values.cpu().double().std())
    return float(error.cpu().double().square().mean().sqrt()) / spread if spread > 0 else float("inf")


@dataclass(frozen=True, eq=False)
class Request:
    """A batch of images to explain at one layer, or at none where the method reads pixels.

    What the network computed is float64 whatever its own type: sums that cancel keep their digits, and products and
    squares of gradients of any size neither vanish nor overflow.

    Attributes
    ----------
    shared : Pass
        One forward and one backward pass, shared by methods and layers.
    layer : str or None
        Name of the layer; None for methods that read pixels.
    seed : int
        Of everything that is drawn at random.

    """

    shared: Pass
    layer: str | None
    seed: int = 0

    @property
    def model(self) -> Model:
        """The network."""
        return self.shared.model

    @property
    def x(self) -> Float[Tensor, "B C H W"]:
        """The network input, in the network's own type."""
        return self.shared.x.detach()

    @property
    def _read(self) -> str:
        if self.layer is None:
            raise UnfitError(f"no layer of {self.model.name} is read by this method")
        return self.layer

    @property
    def activation(self) -> Float[Tensor, "B units h w"]:
        """The layer's activations."""
        return precise(self.shared.captured.activations[self._read].detach())

    @property
    def gradient(self) -> Float[Tensor, "B units h w"]:
        """The gradient of the target at the layer."""
        return precise(self.shared.gradient(self._read))

    @property
    def pixel_gradient(self) -> Float[Tensor, "B C H W"]:
        """The gradient of the target at the network input."""
        return precise(self.shared.gradient(None))

    @property
    def each(self) -> Tensor:
        """The number of every image, (B,)."""
        return self.shared.each

    @property
    def scores(self) -> Float[Tensor, " B"]:
        """The target of every image."""
        return precise(self.shared.scores.detach())

    def generator(self) -> torch.Generator:
        """Return a new random stream: the same for every batch, so that no image's map depends on its neighbours."""
        return torch.Generator().manual_seed(self.seed)

    def run(self, x: Float[Tensor, "V C H W"], index: Tensor) -> Float[Tensor, " V"]:
        """Return the target of other inputs, without a gradient.

        Parameters
        ----------
        x
            (V, C, H, W) network input.
        index
            (V,), which image of the batch each is a variant of.

        Returns
        -------
        torch.Tensor
            (V,) float64.

        """
        target = self.shared.target
        with torch.no_grad():
            captured = tap.capture(self.model, self._laid_out(x), target.layers, stop=False)
            return precise(target.score(captured, index))

    def completeness_gap(self, values: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
        """Return how far the sums of maps are from what the target gains from 0 of the network input to the image.

        Parameters
        ----------
        values
            (B, H, W), the maps.

        Returns
        -------
        torch.Tensor
            (B,), in the unit of the target.

        """
        gain = self.scores - self.run(torch.zeros_like(self.x), self.each)
        return values.sum((1, 2)) - gain

    def slopes(self, x: Float[Tensor, "V C H W"], index: Tensor) -> tuple[Tensor, Float[Tensor, "V C H W"]]:
        """Return the target of other inputs and its gradient there.

        Parameters
        ----------
        x
            (V, C, H, W) network input.
        index
            (V,), which image of the batch each is a variant of.

        Returns
        -------
        values : torch.Tensor
            (V,) float64.
        gradients : torch.Tensor
            (V, C, H, W) float64.

        """
        values, gradients = [], []
        size = min(BATCH, batch_of(self.model))
        for part, rows in zip(torch.split(x, size), torch.split(index, size), strict=True):
            value, gradient = self._slope(part, rows)
            values.append(value)
            gradients.append(gradient)
        return precise(torch.cat(values)), precise(torch.cat(gradients))

    def _slope(self, x: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
        target = self.shared.target
        pixels = self._laid_out(x).detach().clone().requires_grad_(True)
        with torch.enable_grad():
            captured = tap.capture(self.model, pixels, target.layers, stop=False)
            values = target.score(captured, index)
        if not values.requires_grad:
            raise UnfitError(f"no gradient of the target reaches the pixels in {self.model.name}: {tap.CUT}")
        (gradient,) = tap.gradients(self.model, values, [pixels], torch.ones_like(values))
        return values.detach(), gradient

    def _laid_out(self, x: Tensor) -> Tensor:
        return x.to(self.x.dtype, memory_format=memory_format(self.model))

    def resumed(self, variants: Float[Tensor, "V units h w"], index: Tensor) -> Float[Tensor, " V"]:
        """Return the target with other outputs of the layer: only the network behind it is run.

        Parameters
        ----------
        variants
            (V, units, h, w), outputs of the layer.
        index
            (V,), which image of the batch each is a variant of.

        Returns
        -------
        torch.Tensor
            (V,) float64.

        """
        if self.shared.target.layers:
            raise UnfitError("methods that change a layer's output read class scores, not a similarity")
        suffix = self.shared.suffix(self._read)
        found = []
        with torch.no_grad():
            for part, rows in zip(torch.split(variants, 4 * BATCH), torch.split(index, 4 * BATCH), strict=True):
                outputs = suffix(part.to(self.x.dtype), rows)
                found.append(self.shared.target.score(tap.Captured({}, outputs), rows))
        return precise(torch.cat(found))


@dataclass(frozen=True, eq=False)
class Trial:
    """One image, for methods that hide parts of it: generators of masks that are sent the target of the masked images.

    Attributes
    ----------
    request : Request
        The batch.
    number : int
        Of the image in the batch.

    Examples
    --------
    A method that hides one half of the image after the other:

    >>> import torch
    >>> from innersight.heatmaps import Trial
    >>> def halves(trial: Trial):
    ...     masks = torch.ones(2, *trial.size)
    ...     masks[0, : trial.size[0] // 2] = masks[1, trial.size[0] // 2 :] = 0
    ...     scores = yield masks
    ...     return (scores.view(2, 1, 1) * masks).sum(0)

    """

    request: Request
    number: int

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the masks."""
        height, width = self.request.x.shape[2:]
        return int(height), int(width)

    @property
    def activation(self) -> Float[Tensor, "units h w"]:
        """The layer's activations."""
        return precise(self.request.shared.captured.activations[self.request._read][self.number].detach())

    def generator(self) -> torch.Generator:
        """Return a new random stream, the same for every image."""
        return self.request.generator()


Masks = Float[Tensor, "n H W"]
"""How much of each pixel stays, 0 to 1."""

Method = Callable[..., "Tensor | MethodOutput | Iterator[Masks]"]
methods: Registry[Method] = Registry(
    "heatmap method", "innersight.heatmaps.methods",
    reads="layer", at_layer=None, passes=1, quick={}, may_be_empty=False, may_mix=False,
)  # fmt: skip
"""A method is a function of a Request, or of a Trial and a generator where it reads "masks". Beside its title and paper
an entry states:

- reads : "layer" (activations and gradients there), "pixels" (the gradient of the input), "passes" (it makes its own),
  "masks" (the target of images with parts hidden), "attention", or "captum" (an extra).
- unit : of its values, in which TARGET stands for that of the target.
- at_layer : whether its map is that of a layer; by default where it reads one.
- passes : so many times each image goes through the whole network, at most, with the default options; of scorecam and
  legrad, on ResNet-18 and ViT-B. Running only what is behind the layer does not count. With more than `QUICK_PASSES` a
  method is not among the quick ones. quick : options with which it is fast enough to be tried.
- may_be_empty : whether a map may be 0 everywhere though the target depends on the image.
- may_mix : whether rounding of a logit changes its values, so that they may depend on the images in the same batch.
"""


GRADIENT = 3
"""A forward and a backward pass take about as long as so many forward passes."""


def forward_passes(name: str) -> int:
    """Return how many forward passes a method takes for each image, beside the one that all methods share.

    At most, with its default options; a backward pass counts too.
    """
    entry = methods.entry(name)
    if entry.reads in ("layer", "pixels"):
        return 0
    passes: int = entry.passes
    return passes * (1 if entry.reads == "masks" else GRADIENT)


def layer_of(name: str, layer: str | None) -> str | None:
    """Return the layer that a method's map belongs to: `layer`, or None where it reads none."""
    entry = methods.entry(name)
    at_layer = entry.reads == "layer" if entry.at_layer is None else entry.at_layer
    return layer if at_layer else None


def unit_of(name: str, target: str) -> str:
    """Return the unit of a method's values for a target in the unit `target`."""
    return methods.entry(name).unit.replace("TARGET", target)
