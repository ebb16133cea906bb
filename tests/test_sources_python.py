"""Networks from a function or a Lightning checkpoint of one's own."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from innersight.errors import InnersightError
from innersight.heads import Head, similarity
from innersight.sources import load

NETS = """
import lightning
import torch
from torch import nn
from innersight.input_spec import InputSpec
from innersight.model import Model
from innersight.heads import PLAIN

number = 3
class Net(lightning.LightningModule):
    def __init__(self, width=4, classes=3, **rest):
        super().__init__()
        self.save_hyperparameters()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.top = nn.Linear(width, classes)
    def forward(self, x):
        return self.top(self.body(x))
class Whole(nn.Module):
    def __init__(self, hparams):
        super().__init__()
        self.net = Net(**hparams)
    def forward(self, x):
        return self.net(x)
def build():
    return Net()
def as_model():
    return Model(Net(), InputSpec(20, 20), ("a", "b", "c"), "mine", "")
def broken():
    return {}["key"]
def text():
    return "net"
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "my_nets.py").write_text(NETS)
    (tmp_path / "my_pack").mkdir()
    (tmp_path / "my_pack" / "lightning.py").write_text("from my_nets import build\n")
    (tmp_path / "needy.py").write_text("import a_library_that_is_not_there\n")
    (tmp_path / "failing.py").write_text("raise OSError('disk on fire')\n")
    monkeypatch.chdir(tmp_path)
    yield
    for name in ("my_nets", "my_pack", "my_pack.lightning"):
        sys.modules.pop(name, None)


def test_a_function_of_a_module_here() -> None:
    path = list(sys.path)
    model = load("python:my_nets:build?size=20", device="cpu")
    assert (type(model.net).__name__, model.input.shape, model.source) == (
        "Net",
        (3, 20, 20),
        "python:my_nets:build?size=20",
    )
    assert not model.net.training
    assert sys.path == path
    # A module of the same name as a library does not hide it.
    assert len(load("python:my_pack.lightning:build", device="cpu").labels) == 3


def test_a_function_that_returns_a_model() -> None:
    model = load("python:my_nets:as_model", device="cpu")
    assert (model.labels, model.name, model.input.shape) == (("a", "b", "c"), "mine", (3, 20, 20))


def test_weights_are_fitted(tmp_path: Path) -> None:
    state = load("python:my_nets:build", device="cpu").net.state_dict()
    torch.save(state, "a.pt")
    model = load("python:my_nets:build?checkpoint=a.pt", device="cpu")
    assert model.notes[0] == "weights from a.pt"
    assert all(torch.equal(t, state[name]) for name, t in model.net.state_dict().items())
    torch.save({"top.weight": torch.zeros(3, 4)}, "b.pt")
    with pytest.raises(InnersightError, match=r"b\.pt: the weights do not fit: body\.0\.weight is missing; "):
        load("python:my_nets:build?checkpoint=b.pt")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("my_nets", "'my_nets' is incomplete: write python:MODULE:FUNCTION"),
        ("my_nets:", "is incomplete"),
        ("my_net:build", "there is no Python module 'my_net' in .* or on the path"),
        ("my_nets.sub:build", "there is no Python module 'my_nets.sub'"),
        ("my_nets:buidl", "my_nets has no 'buidl'; did you mean build"),
        ("my_nets:number", "python:my_nets:number is 3 of type int: give a function"),
        ("my_nets:text", "returned 'net' of type str: return a torch.nn.Module or an innersight Model"),
        ("my_nets:broken", "python:my_nets:broken raised KeyError: 'key'"),
        ("my_nets:Whole", "raised TypeError: .*missing 1 required positional argument: 'hparams'"),
        ("needy:build", "the module 'needy' needs 'a_library_that_is_not_there', which is not installed"),
        ("failing:build", "importing 'failing' raised OSError: disk on fire"),
    ],
)
def test_what_goes_wrong_is_one_sentence(name: str, why: str) -> None:
    with pytest.raises(InnersightError, match=why):
        load(f"python:{name}")
    assert "" not in sys.path[:1]


def test_the_cause_is_kept() -> None:
    with pytest.raises(InnersightError) as caught:
        load("python:my_nets:broken")
    assert isinstance(caught.value.__cause__, KeyError)


# Lightning ----------------------------------------------------------------------------------------------------------


def checkpoint(**changes: Any) -> nn.Module:
    net = load("python:my_nets:build", device="cpu").net
    hyper = {"width": 4, "classes": 3, "_instantiator": "somewhere"}
    torch.save({"state_dict": net.state_dict(), "hyper_parameters": hyper, "epoch": 1, **changes}, "a.ckpt")
    return net


def test_a_checkpoint_is_fitted_into_its_class() -> None:
    net = checkpoint()
    model = load("lightning:a.ckpt?class=my_nets:Net&size=16", device="cpu")
    assert model.notes[0] == "weights from a.ckpt"
    assert all(torch.equal(t, net.state_dict()[name]) for name, t in model.net.state_dict().items())
    assert model.input.shape == (3, 16, 16)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::FutureWarning")
def test_a_checkpoint_that_lightning_wrote() -> None:
    import lightning

    net: Any = load("python:my_nets:build", device="cpu").net
    trainer = lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, barebones=False, enable_progress_bar=False
    )
    trainer.strategy.connect(net)
    trainer.save_checkpoint("b.ckpt", weights_only=True)
    model = load("lightning:b.ckpt?class=my_nets:Net", device="cpu")
    assert all(torch.equal(t, net.state_dict()[name]) for name, t in model.net.state_dict().items())


def test_hyperparameters_reach_the_constructor() -> None:
    wide = {"width": 6, "classes": 2}
    checkpoint(hyper_parameters=wide)
    with pytest.raises(
        InnersightError, match=r"the weights do not fit: body\.0\.weight has shape \(4, 3, 3, 3\) instead of"
    ):
        load("lightning:a.ckpt?class=my_nets:Net")
    net = checkpoint()
    torch.save(
        {
            "state_dict": {f"net.{name}": t for name, t in net.state_dict().items()},
            "hyper_parameters": {"width": 4},
            "hparams_name": "hparams",
        },
        "a.ckpt",
    )
    assert len(load("lightning:a.ckpt?class=my_nets:Whole", device="cpu").labels) == 3


def test_what_goes_wrong_with_a_checkpoint() -> None:
    checkpoint(hyper_parameters={})
    for source, why in {
        "a.ckpt": r"name its class: lightning:a\.ckpt\?class=MODULE:CLASS",
        "a.ckpt?class=my_nets:Nte": "my_nets has no 'Nte'; did you mean Net",
        "a.ckpt?class=my_nets": r"is incomplete: write lightning:a\.ckpt\?class=MODULE:CLASS",
        "a.ckpt?class=my_nets:build": r"my_nets:build is not a torch\.nn\.Module class but <function",
        "a.ckpt?class=my_nets:Whole": "called with no hyperparameters raised TypeError.*save_hyperparameters",
        "a.ckpt?class=my_nets:Net&classes=9": "Net has 3 classes, not 9",
        "none.ckpt?class=my_nets:Net": r"none\.ckpt: no such file",
    }.items():
        with pytest.raises(InnersightError, match=why):
            load(f"lightning:{source}")
    Path("a.ckpt").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(InnersightError, match="not a readable checkpoint"):
        load("lightning:a.ckpt?class=my_nets:Net")


def test_a_head_for_an_output_that_none_recognises() -> None:
    Path("my_words.py").write_text(
        "from torch import nn\n"
        "class Words(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.conv = nn.Conv2d(3, 5, 3)\n"
        "    def forward(self, x):\n        return {'words': self.conv(x).mean((2, 3))[:, None]}\n"
        "def make():\n    return Words()\n"
    )
    with pytest.raises(
        InnersightError, match=r"\(3, 1, 5\), a row of numbers for each of several boxes or tokens.*head=Head"
    ):
        load("python:my_words:make?size=32")
    head = Head(lambda output: output["words"][:, 0])
    model = load("python:my_words:make?size=32", head=head, labels=list("abcde"))
    assert model.head is head
    assert model.labels == tuple("abcde")


def test_a_head_of_other_scores_brings_labels_of_their_number() -> None:
    named = load("small:8?size=32&mean=0.5&std=0.5", classes=3, labels=["cat", "dog", "owl"])
    references = named.net(torch.zeros(2, 3, 32, 32))
    model = load("small:8?size=32&mean=0.5&std=0.5", classes=3, head=similarity(references))
    assert model.labels == ("0", "1")


def test_weights_that_are_no_numbers_are_said_of_a_given_network_too() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    net[3].bias.data[0] = torch.nan
    notes = load(net).notes
    assert any("NaN or infinite values in the weights 3.bias" in note for note in notes)
