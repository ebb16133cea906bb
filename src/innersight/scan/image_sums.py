"""What a scan keeps of its images beside the statistics of layers: a look at the input, and a sample of features."""

from collections.abc import Iterable, Mapping

from jaxtyping import Float, Int
from torch import Tensor

from innersight.input_warnings import InputLook
from innersight.model import Model
from innersight.scan.features import FeatureSample

LOOK, FEATURES = ":look/", ":features/"  # begin the names of what is kept; no layer begins so


class ImageSums:
    """Both of them, over the images so far. look : checks of the input contract. features : see `FeatureSample`."""

    def __init__(self, model: Model) -> None:
        self.look, self.features = InputLook(model), FeatureSample(model)

    def add(self, x: Float[Tensor, "B C H W"], sizes: Iterable[tuple[int, int] | None]) -> None:
        """Take in a batch of network input, and the (height, width) of the images where they are known."""
        self.look.add(x, sizes)

    def tensors(self) -> dict[str, Tensor]:
        """Return everything, to be kept."""
        parts = ((LOOK, self.look.tensors()), (FEATURES, self.features.tensors()))
        return {f"{begin}{key}": tensor for begin, tensors in parts for key, tensor in tensors.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Add what `tensors` returned of other images."""
        for begin, part in ((LOOK, self.look), (FEATURES, self.features)):
            part.load({key.removeprefix(begin): value for key, value in tensors.items() if key.startswith(begin)})

    def kept(self) -> Int[Tensor, " n"]:
        """Return the numbers of the images of the sample."""
        return self.features.tensors()["numbers"]
