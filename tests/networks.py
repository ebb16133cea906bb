"""Small networks, each with one habit that trips tools of this kind, and a Model around each."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from innersight.image import Image, as_image
from innersight.input_spec import InputSpec
from innersight.model import Model


class InPlace(nn.Module):
    """Norms, then activations that overwrite their input, then average pooling and one linear layer."""

    def __init__(self, channels: int = 3, classes: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 6, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(6)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(6, 8, 3, padding=1)
        self.relu2 = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool1(self.relu1(self.bn1(self.conv1(x))))
        x = self.relu2(self.conv2(x))
        return self.head(self.dropout(x.mean((2, 3))))


class Dense(nn.Module):
    """Every step reads all earlier outputs again, as DenseNet does, through activations that overwrite."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.step1 = nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3, padding=1))
        self.step2 = nn.Sequential(nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Conv2d(8, 4, 3, padding=1))
        self.step3 = nn.Sequential(nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.Conv2d(12, 4, 3, padding=1))
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        seen = [self.stem(x)]
        for step in (self.step1, self.step2, self.step3):
            seen.append(step(torch.cat(seen, 1)))
        return self.head(F.relu(torch.cat(seen, 1), inplace=True).mean((2, 3)))


class Twice(nn.Module):
    """One block called twice, and one activation shared by everything."""

    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.block = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), self.relu)
        self.last = nn.Conv2d(6, 8, 3, padding=1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.block(self.block(self.relu(self.stem(x))))
        return self.head(self.relu(self.last(x)).mean((2, 3)))


class Functional(nn.Module):
    """Functional operations and a shortcut that joins the input again behind every layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1)
        self.conv2 = nn.Conv2d(9, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.max_pool2d(torch.tanh(self.conv1(x)), 2)
        small = F.avg_pool2d(x, 2)
        z = self.conv2(torch.cat([y, small], 1))
        z += y
        return self.head(F.adaptive_avg_pool2d(F.relu(z), 1).flatten(1))


class WritesBack(nn.Module):
    """Writes into the output of an earlier module before and after its layer: what is remembered is written to."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x *= 1.5
        x += torch.relu(self.conv(x.tanh()))
        return self.head(x.mean((2, 3)))


class Windows(nn.Module):
    """Cuts each image into four rows of the batch before it goes on: nothing remembered has a row per image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.late = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-1] // 2
        windows = x.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        parts = self.stem(windows).relu().mean((2, 3)).view(len(x), 4, 6).amax(1)
        return self.head(parts + self.late(x).relu().mean((2, 3)))


class Noisy(nn.Module):
    """Draws random numbers in every forward pass, also in eval mode; the logits do not depend on them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        noise = torch.rand_like(x)
        return self.head(F.relu(self.conv(x + 0 * noise)).mean((2, 3)))


NETS: dict[str, tuple[Callable[[], nn.Module], InputSpec]] = {
    "in-place": (InPlace, InputSpec(24, 24, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))),
    "dense": (Dense, InputSpec(24, 24)),
    "twice": (Twice, InputSpec(24, 24)),
    "functional": (Functional, InputSpec(24, 24)),
    "writes-back": (WritesBack, InputSpec(24, 24)),
    "windows": (Windows, InputSpec(24, 24)),
    "noisy": (Noisy, InputSpec(24, 24)),
    "grey": (lambda: InPlace(channels=1), InputSpec(28, 28, 1, (0.1,), (0.3,), fit="squash")),
    "wide": (InPlace, InputSpec(20, 34, crop=0.875, resample="bicubic")),
}


def tiny(name: str, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> Model:
    """Build one of NETS with seeded weights and norms that do something."""
    build, spec = NETS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = build()
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.normal_(module.weight, 1, 0.2)
                nn.init.normal_(module.bias, 0, 0.2)
    return Model(net.to(dtype).eval(), spec, ("ash", "birch", "cedar", "dogwood"), f"tiny {name}", "a test")


def batch(model: Model, count: int = 2, *, seed: int = 1) -> Tensor:
    """Return random network input of the model's size and type."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *model.input.shape, generator=generator, dtype=torch.float64).to(model.dtype)


def image(seed: int = 0, *, width: int = 40, height: int = 30, name: str | None = None) -> Image:
    """Return an image of smooth random blobs."""
    coarse = np.random.default_rng(seed).uniform(0, 1, (1, 3, 4, 5))
    smooth = F.interpolate(torch.from_numpy(coarse), size=(height, width), mode="bilinear")[0]
    return as_image((smooth.permute(1, 2, 0).numpy() * 255).astype(np.uint8), name=name or f"blobs {seed}")
