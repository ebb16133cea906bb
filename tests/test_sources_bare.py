"""Bare modules: wrappers, what cannot be looked into, and outputs of every kind."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from networks import InPlace
from torch import Tensor, nn

from innersight.errors import InnersightError
from innersight.heads import multilabel, region, similarity
from innersight.input_spec import InputSpec
from innersight.sources import load

SPEC = InputSpec(24, 24, mean=0, std=1, fit="crop")


def small(*last: nn.Module, outputs: int = 4) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, outputs), *last
    ).eval()


class Returns(nn.Module):
    """A network whose output is put into something by `pack`."""

    def __init__(self, pack: Any) -> None:
        super().__init__()
        self.net, self.pack = small(), pack

    def forward(self, x: Tensor) -> Any:
        return self.pack(self.net(x), x)


@dataclass
class Output:
    hidden: Tensor
    logits: Tensor


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, *SPEC.shape)


def test_a_compiled_network_is_looked_at_uncompiled() -> None:
    net = small()
    model = load(torch.compile(net), input=SPEC)
    assert model.net is net
    assert model.notes == ("the network behind torch.compile is used",)


def test_a_data_parallel_network_is_looked_at_alone() -> None:
    net = small()
    model = load(nn.DataParallel(net), input=SPEC)
    assert model.net is net
    assert model.notes == ("the network inside DataParallel is used",)


def test_a_distributed_network_is_looked_at_alone() -> None:
    # Without a process group its constructor refuses; only its class and `module` are read.
    wrapped = nn.parallel.DistributedDataParallel.__new__(nn.parallel.DistributedDataParallel)
    nn.Module.__init__(wrapped)
    wrapped.module = small()
    model = load(wrapped, input=SPEC)
    assert model.net is wrapped.module
    assert model.notes == ("the network inside DistributedDataParallel is used",)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore:.*torch.jit:FutureWarning")
def test_a_scripted_network_is_refused() -> None:
    net = small()
    net[1] = torch.jit.trace(nn.ReLU(), torch.rand(1, 5, 3, 3))
    with pytest.raises(
        InnersightError, match=r"Sequential \(1\) is TorchScript, whose layers cannot be read: .*pt2:FILE"
    ):
        load(net, input=SPEC)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_quantized_network_is_refused() -> None:
    net = small()
    net[4] = torch.ao.nn.quantized.Linear(5, 4)
    with pytest.raises(InnersightError, match=r"Sequential \(4\) is quantized: no gradient passes through it"):
        load(net, input=SPEC)


def test_a_softmax_at_the_end(images: Tensor) -> None:
    net = small(nn.Softmax(1))
    model = load(net, input=SPEC)
    assert model.notes == ("the network ends in a softmax: its scores are log-probabilities",)
    scores = model.logits(images)
    assert torch.allclose(scores, net(images).log(), atol=1e-6)
    assert torch.allclose(model.probabilities(scores), net(images), atol=1e-6)
    assert model.head.unit == "log-probability"


def test_a_sigmoid_at_the_end(images: Tensor) -> None:
    net = small(nn.Sigmoid())
    model = load(net, input=SPEC)
    assert "each class is independent" in model.notes[0]
    assert torch.allclose(model.logits(images), net[:-1](images), atol=1e-4)
    assert torch.allclose(model.probabilities(model.logits(images)), net(images), atol=1e-5)


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("sigmoid", [False, True])
def test_a_single_output_has_two_sides(sigmoid: bool, flat: bool, images: Tensor) -> None:
    layers = [nn.Flatten(0)] if flat else []
    net = small(*layers, *([nn.Sigmoid()] if sigmoid else []), outputs=1)
    model = load(net, input=SPEC)
    assert model.labels == ("no", "yes")
    logit = net[:5](images).flatten()
    assert torch.allclose(model.logits(images), torch.stack([-logit, logit], 1), atol=1e-4)
    yes = model.probabilities(model.logits(images))[:, 1]
    assert torch.allclose(yes, logit.sigmoid(), atol=1e-5)


@pytest.mark.parametrize(
    ("pack", "where"),
    [
        (lambda y, x: (y, x), "output[0]"),
        (lambda y, x: [{"scores": y}], "output[0]['scores']"),
        (lambda y, x: OrderedDict(aux=x, out=y), "output['out']"),
        (lambda y, x: Output(x, y), "output.logits"),
    ],
    ids=["tuple", "list", "dict", "dataclass"],
)
def test_several_outputs(pack: Any, where: str, images: Tensor) -> None:
    net = Returns(pack).eval()
    model = load(net, input=SPEC)
    assert len(model.labels) == 4
    note = f"the network returns several outputs: {where} is used as the class scores; choose another with head="
    assert model.notes[0] == note
    assert torch.equal(model.logits(images), net.net(images))


def test_outputs_without_class_scores() -> None:
    with pytest.raises(
        InnersightError, match="returned str: no tensor of class scores; state how to read the output with head="
    ):
        load(Returns(lambda y, x: "no"), input=SPEC)
    with pytest.raises(InnersightError, match=r"returned \(3, 2, 2\), a row of numbers for each of several boxes"):
        load(Returns(lambda y, x: y.reshape(-1, 2, 2)), input=SPEC)


def test_a_segmentation_network_scores_a_region(images: Tensor) -> None:
    net = nn.Conv2d(3, 2, 3, padding=1)
    model = load(net, input=SPEC)
    assert model.labels == ("0", "1")
    assert model.notes == ("segmentation: each class is averaged over the whole image",)
    assert torch.allclose(model.logits(images), net(images).mean((2, 3)), atol=1e-6)
    assert model.probabilities(model.logits(images)).isnan().all()
    mask = torch.zeros(48, 48, dtype=torch.bool)
    mask[:24, 24:] = True
    corner = load(net, input=SPEC, head=region(mask))
    assert torch.allclose(corner.logits(images), net(images)[:, :, :12, 12:].mean((2, 3)), atol=1e-6)
    with pytest.raises(InnersightError, match="the region is empty"):
        region(torch.zeros(4, 4, dtype=torch.bool))


def test_a_head_can_be_stated(images: Tensor) -> None:
    net = small()
    model = load(net, input=SPEC, head=multilabel(), labels=list("abcd"))
    assert torch.equal(model.probabilities(model.logits(images)), net(images).sigmoid())
    references = net(torch.rand(3, *SPEC.shape))
    embedding = load(net, input=SPEC, head=similarity(references))
    assert embedding.labels == ("0", "1", "2")
    expected = torch.cosine_similarity(net(images)[:, None], references[None], 2)
    assert torch.allclose(embedding.logits(images), expected, atol=1e-6)
    with pytest.raises(InnersightError, match="embeddings have 4 features but the references have 7"):
        load(net, input=SPEC, head=similarity(torch.rand(3, 7)))


def test_looking_at_a_network_leaves_it_as_it_was() -> None:
    net = InPlace().train()
    net.bn1.eval()
    before = {name: t.clone() for name, t in net.state_dict().items()}
    state = torch.get_rng_state()
    load(net)
    assert [m.training for m in net.modules()].count(False) == 1
    assert all(torch.equal(t, before[name]) for name, t in net.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
