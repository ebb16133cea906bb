"""Exported programs: modules and hooks as before the export, and programs that cannot be looked at."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.sources import load
from innersight.sources.origins.pt2 import _is_arithmetic

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
FREE = torch.export.Dim.DYNAMIC


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.5)
        self.top = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(self.stem(x)).relu()
        return self.top(self.drop(x.mean((2, 3)).view(x.shape[0], -1)))


def saved(net: nn.Module, file: Path, *shapes: Any, x: Tensor | None = None, train: bool = False) -> nn.Module:
    x = torch.rand(2, 3, 12, 14) if x is None else x
    program = torch.export.export(net.train(train), (x,), dynamic_shapes=shapes or ({0: FREE},))
    torch.export.save(program, file)
    return net


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, nn.Module]:
    file = tmp_path_factory.mktemp("plain") / "net.pt2"
    return f"pt2:{file}", saved(Net(), file)


def test_scores_and_modules_are_those_of_the_exported_network(plain: Any) -> None:
    source, net = plain
    model = load(source, device="cpu")
    assert (model.input.shape, model.name, len(model.labels)) == ((3, 12, 14), "net", 5)
    assert not model.net.training
    for number in (1, 2, 5):
        x = torch.rand(number, 3, 12, 14)
        assert torch.allclose(model.logits(x), net(x), atol=1e-6)
    assert [name for name, _ in model.net.named_modules()] == [name for name, _ in net.named_modules()]
    assert [type(m).__name__ for m in model.net.modules()] == [type(m).__name__ for m in net.modules()]
    assert type(model.module("stem.2")).__module__ == "torch.nn.modules.activation"
    state = net.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in model.net.state_dict().items())


def test_every_hook_fires_and_takes_effect(plain: Any) -> None:
    model = load(plain[0], device="cpu")
    x = torch.rand(2, 3, 12, 14)
    before = model.logits(x)
    for name, module in model.net.named_modules():
        handle = module.register_forward_hook(lambda module, inputs, output: torch.full_like(output, 0.3))
        assert not torch.equal(model.logits(x), before), name
        handle.remove()
    assert torch.equal(model.logits(x), before)


def test_a_module_called_in_several_ways_starts_anew_after_a_stop(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.part, self.conv, self.top = Part(), nn.Conv2d(3, 3, 1), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.top(self.part(self.conv(self.part(x, 1.0)), 2.0).mean((2, 3)))

    class Part(nn.Module):
        def forward(self, x: Tensor, factor: float) -> Tensor:
            return x * factor + factor

    net, x = Twice().eval(), torch.rand(2, 3, 12, 14)
    program = torch.export.export(net, (x,), dynamic_shapes=({0: FREE},), preserve_module_call_signature=("part",))
    torch.export.save(program, tmp_path / "net.pt2")
    model = load(f"pt2:{tmp_path / 'net.pt2'}", device="cpu")
    assert hasattr(model.module("part"), "_num_calls")

    def stop(*args: Any) -> None:
        raise KeyboardInterrupt

    handle = model.module("conv").register_forward_hook(stop)
    with pytest.raises(KeyboardInterrupt):
        model.logits(x)
    handle.remove()
    for _ in range(2):
        assert torch.allclose(model.logits(x), net(x), atol=1e-6)


def test_gradients_reach_image_and_layers(plain: Any) -> None:
    model = load(plain[0], device="cpu")
    held: list[Tensor] = []
    model.module("stem.2").register_forward_hook(lambda module, inputs, output: held.append(output))
    x = torch.rand(2, 3, 12, 14, requires_grad=True)
    grads = torch.autograd.grad(model.logits(x)[:, 0].sum(), [x, held[0]])
    assert all(bool(g.abs().sum() > 0) for g in grads)


def test_a_size_that_is_free_is_guessed(tmp_path: Path) -> None:
    saved(Net(), tmp_path / "net.pt2", {0: FREE, 2: FREE, 3: FREE})
    assert load(f"pt2:{tmp_path / 'net.pt2'}", device="cpu").input.guessed == ("height", "width", "mean", "std", "fit")
    assert load(f"pt2:{tmp_path / 'net.pt2'}?size=20x30", device="cpu").input.shape == (3, 20, 30)


def test_programs_that_are_refused(tmp_path: Path) -> None:
    class Bytes(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.float().mean((2, 3))

    file = tmp_path / "net.pt2"
    saved(Net(), file, {0: None})
    with pytest.raises(InnersightError, match=r"takes exactly 2 image\(s\) at a time: export it again with .*DYNAMIC"):
        load(f"pt2:{file}")
    saved(Net(), file, train=True)
    with pytest.raises(
        InnersightError, match=r"exported in training mode \(aten.batch_norm.default .*: export it again"
    ):
        load(f"pt2:{file}")
    saved(Bytes(), file, x=torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(InnersightError, match=r"input is of type torch\.uint8, which no gradient reaches"):
        load(f"pt2:{file}")
    saved(nn.Linear(4, 2), file, x=torch.rand(2, 4))
    with pytest.raises(InnersightError, match=r"one batch of images \(B, C, H, W\) is needed"):
        load(f"pt2:{file}")


def test_what_the_file_fixes_cannot_be_asked_for(plain: Any) -> None:
    with pytest.raises(InnersightError, match="net has 5 classes, not 7"):
        load(plain[0], classes=7)
    with pytest.raises(InnersightError, match="has its own weights"):
        load(plain[0], weights="a.pt")
    with pytest.raises(InnersightError, match="refuses an input of"):
        load(f"{plain[0]}?size=32")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InnersightError, match=r"no such file of torch.export"):
        load("pt2:nowhere.pt2")
    file = tmp_path / "a.pt2"
    file.write_bytes(b"nothing")
    with pytest.raises(InnersightError, match=r"not an archive that torch\.export\.save wrote"):
        load(f"pt2:{file}")
    torch.save(Net().state_dict(), file)
    with pytest.raises(InnersightError, match=r"not an archive that torch\.export\.save wrote"):
        load(f"pt2:{file}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Symbol('s77', positive=True, integer=True)", True),
        ("2*s0 + FloorDiv(s1 - 3, 4)", True),
        ("Max(1, s77) >= 2", True),
        ("-5", True),
        ("__import__('os').system('true')", False),
        ("Symbol('s0').__class__", False),
        ("(lambda: 1)()", False),
        ("[x for x in y]", False),
        ("eval('1')", False),
        ("open(1)", False),
        ("Symbol('a b()')", False),
        ("1 +", False),
    ],
)
def test_expressions_are_arithmetic_or_refused(text: str, expected: bool) -> None:
    assert _is_arithmetic(text) == expected
