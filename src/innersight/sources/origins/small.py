"""`small:WIDTH`: the project's own residual network for small images, untrained; what `train` uses by default."""

from innersight.errors import InnersightError, whole
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.sources.origins import LoadRequest, registry
from innersight.sources.small_resnet import SmallResNet
from innersight.sources.weights import fit_weights, read_weights


@registry.register(
    "Small residual network",
    source="https://arxiv.org/abs/1512.03385",
    use="To train on small images: it is what innersight train uses when no network is named.",
    example="small:32",
)
def small(name: str, request: LoadRequest) -> Model:
    """Build `small:WIDTH` (`small` alone: width 32).

    The weights are those of the file `weights`, or random from torch's global generator.
    """
    classes, weights, stated = request.classes, request.weights, request.stated
    if name and not 1 <= (whole(name) or 0) <= 1024:
        raise InnersightError(f"small:{name}: the width must be a number from 1 to 1024, as in small:32")
    width, outputs = int(name or 32), classes or 10
    channels = stated.get("channels", 3)
    net = SmallResNet(outputs, width=width, channels=channels)
    note = "random weights: the network is untrained"
    if weights is not None:
        note = fit_weights(net, read_weights(weights), origin=weights)
    spec = InputSpec(80, 80, channels, (0.5,) * channels, (0.25,) * channels, fit="squash", guessed=())
    return Model(net.eval(), spec, tuple(map(str, range(outputs))), f"small-{width}", f"small:{width}", (note,))
