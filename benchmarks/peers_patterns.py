"""The peers that draw patterns, each with its own defaults: one unit to an image (1, 3, H, W) of pixels in 0..1."""

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from innersight.model import Model

# Given a layer, a unit and a number of updates; a peer's own number where None.
Peer = Callable[[str, int, int | None], Tensor]


class Pixels(nn.Module):
    """The network behind its own normalisation, so that every peer may feed it pixels in 0..1."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.net, self._spec = model.net, model.input

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(self._spec.normalise(x))
        return out


def lucent(model: Model, *, frozen: bool) -> Peer:
    """Lucent: 512 updates of an image of the network's own size, as ours has.

    Its default of 128 px, shown to the network at 224 px, would be another task.

    frozen : with `requires_grad` off for the parameters. In both cases the hooks it leaves behind are removed after
    each run, or every run would be slower than the one before.
    """
    from lucent.optvis import objectives, param, render

    size = model.input.height

    def draw(layer: str, unit: int, steps: int | None) -> Tensor:
        net = Pixels(model)
        for parameter in net.parameters():
            parameter.requires_grad_(not frozen)
        objective = objectives.channel("net_" + layer.replace(".", "_"), unit)
        found = render.render_vis(
            net, objective, lambda: param.image(size), thresholds=(steps or 512,), preprocess=False, show_image=False,
            progress=False, fixed_image_size=size,
        )  # fmt: skip
        _clean(net)
        return torch.from_numpy(found[-1]).permute(0, 3, 1, 2).float()

    return draw


def dreamlens_maco(model: Model) -> Peer:
    """DreamLens at MACO: 256 updates of a 512 px image, 32 crops at a time."""
    from dreamlens import feature_visualizer, objectives, optimization

    def draw(layer: str, unit: int, steps: int | None) -> Tensor:
        net = Pixels(model)
        config = optimization.MacoConfig(steps=steps or 256, input_shape=model.input.shape)
        seer = feature_visualizer.FeatureVisualizer(net, quiet=True, normalize=False)
        with contextlib.redirect_stderr(io.StringIO()):
            found = seer.maco(objectives.FeatureTarget.for_channel(f"net.{layer}", unit, reduction="mean"), config)
        _clean(net)
        image = found.image.detach().float().cpu()
        return image.reshape(-1, *image.shape[-3:])[:1]

    return draw


def horama_maco(model: Model) -> Peer:
    """Horama at MACO: 1,000 updates of a 1280 px image, 6 crops at a time, pixels in 0..1.

    The spectrum it would download is the one that DreamLens brings.
    """
    import dreamlens
    from horama import maco

    def draw(layer: str, unit: int, steps: int | None) -> Tensor:
        net, kept = Pixels(model), []
        handle = net.get_submodule(f"net.{layer}").register_forward_hook(lambda _m, _i, out: kept.append(out))

        def objective(images: Tensor) -> Tensor:
            kept.clear()
            net(images)
            return kept[0][:, unit].mean()  # type: ignore[no-any-return]

        before = Path.cwd()
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
            (spectrum,) = (Path(dreamlens.__file__).parent / "data").glob("*decorrelated.npy")
            shutil.copy(spectrum, Path(folder) / "spectrum_decorrelated.npy")
            os.chdir(folder)
            try:
                image, _ = maco(
                    objective, total_steps=steps or 1000, model_input_size=model.input.height, values_range=(0.0, 1.0),
                    device="cpu",
                )  # fmt: skip
            finally:
                os.chdir(before)
        handle.remove()
        _clean(net)
        return image.detach()[None].float()

    return draw


def _clean(net: nn.Module) -> None:
    for module in net.modules():
        module._forward_hooks.clear()
    for parameter in net.parameters():
        parameter.requires_grad_(True)
        parameter.grad = None
