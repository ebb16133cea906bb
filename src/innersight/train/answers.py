"""What a network answers on batches of images: its logits, and the counts that judge it."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from innersight.input_spec import InputSpec
from innersight.memory_format import tried
from innersight.model import Model
from innersight.train.data import Batches

_formats: "WeakKeyDictionary[nn.Module, torch.memory_format]" = WeakKeyDictionary()


def to_float(pixels: Tensor) -> Tensor:
    """Turn (B, H, W, C) uint8 into (B, C, H, W) float32 in 0..1, channels last in memory."""
    return pixels.permute(0, 3, 1, 2).float().div_(255)


def training_format(net: nn.Module, shape: tuple[int, int, int]) -> torch.memory_format:
    """Return channels last, which is faster, except where the network or torch's own CPU kernels fail then.

    shape : (C, H, W) of the input. Tried once for a network, see `innersight.memory_format`. The kernels write beyond
    their memory with torch 2.14 on a CPU without AVX-512, in the weight gradient of 1x1 convolutions with a stride and
    fewer than eight input channels.
    """
    if net not in _formats:
        narrow = any(
            isinstance(m, nn.Conv2d) and m.in_channels < 8 and m.kernel_size == (1, 1) and m.stride != (1, 1)
            for m in net.modules()
        )
        model = Model(net, InputSpec(shape[1], shape[2], channels=shape[0]), (), type(net).__name__, "")
        _formats[net] = torch.contiguous_format if narrow else tried(model)
    return _formats[net]


def logits_of(net: nn.Module, x: Tensor) -> Tensor:
    """Return (B, classes) float32 logits; of a network with auxiliary outputs in training, the main one."""
    channels, height, width = x.shape[1:]
    output = net(x.contiguous(memory_format=training_format(net, (channels, height, width))))
    return getattr(output, "logits", output).float()  # type: ignore[no-any-return]


def tally(net: nn.Module, spec: InputSpec, pixels: Tensor, targets: Tensor) -> Tensor:
    """Return (classes, classes + 1) float64 sums of one batch: confusions (true, predicted), then the loss in nats.

    Images of target -1 do not count.
    """
    logits = logits_of(net, spec.normalise(to_float(pixels)))
    logits, targets = logits[targets >= 0], targets[targets >= 0]
    classes = logits.shape[1]
    cells = torch.bincount(targets * classes + logits.argmax(1), minlength=classes**2).view(classes, classes)
    losses = functional.cross_entropy(logits, targets, reduction="none")
    by_class = torch.zeros(classes, device=losses.device).index_add_(0, targets, losses)
    # float32: Apple's accelerator has nothing wider
    return torch.cat([cells.float(), by_class[:, None]], 1)


def score(sums: Tensor) -> tuple[float, float]:
    """Return (accuracy, mean loss) of what `tally` summed."""
    confusion = sums[:, :-1]
    images = float(confusion.sum())
    return float(confusion.diagonal().sum()) / images, float(sums[:, -1].sum()) / images


@torch.no_grad()
def evaluate(net: nn.Module, spec: InputSpec, batches: Batches, device: torch.device) -> Tensor:
    """Return the summed `tally` of `net`, in evaluation mode, over `batches`; on the CPU."""
    net.eval().to(device)
    sums = [tally(net, spec, pixels.to(device), targets.to(device)) for pixels, targets in batches]
    net.cpu()
    return torch.stack(sums).sum(0).cpu()
