"""Model: any network behind one interface."""

import hashlib
from collections.abc import Iterable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, SupportsIndex, runtime_checkable

import torch
from torch import nn

from innersight.address import ClassAddress
from innersight.errors import InnersightError, nearest, whole
from innersight.heads import PLAIN, Head
from innersight.input_spec import InputSpec
from innersight.network import failing, run, submodule
from innersight.scalars import integer, is_integer


@runtime_checkable
class Inserted(Protocol):
    """A layer that is computed from another layer's output, and through which the network continues.

    name : its address, such as `stage4~nmf`. layer : the layer that it reads. module : gives (B, concepts, h, w).
    directions : (concepts, units), of unit length; what a concept adds to the layer. found_in : `Model.digest` of the
    network that it was made for; "" where nobody states one.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def layer(self) -> str: ...  # noqa: D102
    @property
    def module(self) -> nn.Module: ...  # noqa: D102
    @property
    def directions(self) -> torch.Tensor: ...  # noqa: D102
    @property
    def found_in(self) -> str: ...  # noqa: D102

    def inside(self, model: "Model") -> AbstractContextManager[None]:
        """Inside, passes of the network go through it."""
        ...


@runtime_checkable
class ConceptSets(Protocol):
    """What holds sets of concepts, each a layer to be inserted."""

    def inserted(self) -> Iterable[Inserted]:
        """Return one layer for each set."""
        ...


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its input contract and class labels, as `innersight.load` returns it.

    Nothing in Innersight changes the network: after every call weights, modes and hooks are as before.

    Attributes
    ----------
    net : torch.nn.Module
        The network.
    input : InputSpec
        What it expects of an image.
    labels : tuple of str
        One name for each class; numbers as text where nobody stated names.
    name, source : str
        A short name for people, and what `innersight.load` was given.
    notes : tuple of str
        What was guessed or assumed, one sentence each.
    run : pathlib.Path or None
        Folder of the training run that it comes from.
    head : Head
        How the network's output becomes one score for each class.
    inserted : tuple of Inserted
        Layers that are computed from others: sets of concepts, see `with_concepts`.
    plain : Model or None
        The same network without them; None where there are none.

    Examples
    --------
    >>> import innersight as ins
    >>> model = ins.load("toon")
    >>> model.input.shape, len(model.labels)
    ((3, 96, 96), 10)
    >>> model.class_index("class:bosk")
    1

    """

    net: nn.Module
    input: InputSpec
    labels: tuple[str, ...]
    name: str
    source: str
    notes: tuple[str, ...] = field(default=())
    run: Path | None = None
    head: Head = PLAIN
    inserted: tuple[Inserted, ...] = ()
    plain: "Model | None" = None

    def __repr__(self) -> str:
        size = "x".join(map(str, self.input.shape))
        some = ", ".join(label[:40] for label in self.labels[:3]) + ("..." if len(self.labels) > 3 else "")
        notes = f"; {len(self.notes)} note{'s' * (len(self.notes) > 1)}" if self.notes else ""
        kind = type(self.net).__name__
        return f"Model {self.name}: {kind}, input {size}, {len(self.labels)} classes ({some}), {self.head.unit}{notes}"

    def logits(self, x: torch.Tensor) -> torch.Tensor:
        """Return the class scores for network input.

        Parameters
        ----------
        x
            (B, C, H, W), normalised, on the model's device and of its type; `Image.tensor` makes it of an image.

        Returns
        -------
        torch.Tensor
            (B, classes), in the unit that `head.unit` states.

        Raises
        ------
        NetworkError
            Where the network or its head fails.

        """
        output = self.output(x)
        with failing(f"the head of {self.name} cannot read the output"):
            return self.head.read(output)

    def output(self, x: torch.Tensor) -> Any:
        """Return the network's own output for network input.

        Parameters
        ----------
        x
            (B, C, H, W), as for `logits`.

        Returns
        -------
        Any
            Whatever the network returns.

        Raises
        ------
        NetworkError
            Where the network fails.

        """
        with ExitStack() as stack:
            for one in self.inserted:
                stack.enter_context(one.inside(self))
            return run(self.net, x, self.name)

    def probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the probabilities that class scores stand for.

        Parameters
        ----------
        logits
            (B, classes), as `logits` returns them.

        Returns
        -------
        torch.Tensor
            (B, classes) in 0..1; NaN where `has_probabilities` is False.

        """
        return self.head.probabilities(logits)

    @property
    def has_probabilities(self) -> bool:
        """Whether class scores stand for probabilities."""
        return self.head.link != "none"

    @property
    def device(self) -> torch.device:
        """Where the network's weights are; CPU for a network without any."""
        return next((p.device for p in self.net.parameters()), torch.device("cpu"))

    @property
    def dtype(self) -> torch.dtype:
        """The floating type of the network's weights; float32 for a network without any."""
        return next((p.dtype for p in self.net.parameters() if p.is_floating_point()), torch.float32)

    def digest(self, *, concepts: bool = True) -> str:
        """Return a digest of everything that results depend on: weights, input contract, labels, head and concepts.

        Parameters
        ----------
        concepts
            False leaves out the concepts: the digest says which network it is, see `with_concepts`.

        Returns
        -------
        str
            16 hexadecimal digits.

        """
        # Who stated the contract does not matter; how scores are read does.
        spec = {name: value for name, value in vars(self.input).items() if name != "guessed"}
        head = (self.head.link, self.head.unit, self.head.mark)
        digest = hashlib.sha256(repr((spec, self.labels, head)).encode())
        for name, tensor in self.net.state_dict().items():
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().float().numpy().tobytes())
        for one in self.inserted if concepts else ():
            digest.update(one.name.encode())
            digest.update(one.directions.cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def on(self, net: nn.Module) -> "Model":
        """Return the model with another network of the same layers in place of its own, such as a copy.

        Parameters
        ----------
        net
            The network.

        Returns
        -------
        Model
            With the same input contract, labels and concepts.

        """
        return replace(self, net=net, plain=None if self.plain is None else replace(self.plain, net=net))

    def directions(self, layer: str) -> torch.Tensor | None:
        """Return the directions of a layer of concepts.

        Parameters
        ----------
        layer
            Its name, such as `stage4~nmf`.

        Returns
        -------
        torch.Tensor or None
            (concepts, units), of unit length; None for any other layer.

        """
        return next((one.directions for one in self.inserted if one.name == layer), None)

    def module(self, layer: str) -> nn.Module:
        """Return the module of a layer.

        Parameters
        ----------
        layer
            Its dotted name, such as `layer2.0.conv1`; `NAME#2` for the second call of a module.

        Returns
        -------
        torch.nn.Module
            The module itself.

        Raises
        ------
        InnersightError
            Where there is none, with the nearest names.

        """
        return self.call(layer)[0]

    def call(self, layer: str) -> tuple[nn.Module, int]:
        """Return the module of a layer and which of its calls is meant.

        Parameters
        ----------
        layer
            `NAME`, or `NAME#2` for the second call of a module that is called several times.

        Returns
        -------
        module : torch.nn.Module
            The module.
        number : int
            Of the call, from 1.

        Raises
        ------
        InnersightError
            For an unknown layer; it lists the nearest names.

        """
        found = next((one.module for one in self.inserted if one.name == layer), None)
        found = submodule(self.net, layer) if found is None else found
        if found is not None:
            return found, 1
        if "~" in layer:
            raise InnersightError(self._without_concepts(layer))
        name, _, number = layer.rpartition("#")
        found, call = submodule(self.net, name), whole(number)
        if found is not None and call:
            return found, call
        names = [name for name, _ in self.net.named_modules() if name]
        raise InnersightError(f"{self.name} has no layer {layer!r}; {nearest(layer, names)}")

    def _without_concepts(self, layer: str) -> str:
        if self.inserted:
            return f"{self.name} has no concepts {layer!r}; {nearest(layer, [one.name for one in self.inserted])}"
        return f"{layer!r} names concepts: give those that `innersight.concepts` found: concepts= (--study STUDY)"

    def with_concepts(self, *sets: "ConceptSets") -> "Model":
        """Return the network with sets of concepts as further layers, whose units are the concepts.

        Parameters
        ----------
        *sets
            What `innersight.concepts` returned, or several of these; also of another checkpoint of the network, which
            `concepts=` refuses.

        Returns
        -------
        Model
            In which addresses such as `stage4~nmf:7` are known. The network is the same: concepts are computed only in
            passes that read them.

        Raises
        ------
        InnersightError
            For two sets of one name, and for a set of a layer that the network does not have.

        """
        given = [one for item in sets for one in item.inserted()]
        names = [one.name for one in (*self.inserted, *given)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise InnersightError(f"two sets of concepts are named {twice!r}: give one of them another name=")
        plain = self.plain or self
        for one in given:
            plain.module(one.layer)
        return replace(self, inserted=(*self.inserted, *given), plain=plain) if given else self

    def class_index(self, target: "int | str | SupportsIndex | ClassAddress") -> int:
        """Return the number of a class.

        Parameters
        ----------
        target
            A label, an address `class:NAME`, or a number, also of NumPy or torch.

        Returns
        -------
        int
            From 0 on, in the order of `labels`.

        Raises
        ------
        InnersightError
            For an unknown label, with the nearest ones; for a label that several classes share; and for a number that
            is out of range.

        """
        given = target.name if isinstance(target, ClassAddress) else target
        if isinstance(given, str):
            return self._labelled(given)
        if not is_integer(given):
            raise InnersightError(f"{given!r} is not a class of {self.name}: give a label or a class number")
        return self._numbered(integer(given, "the class"))

    def _labelled(self, text: str) -> int:
        name = text.removeprefix("class:")
        for label in (text, name):
            same = [number for number, own in enumerate(self.labels) if own == label]
            if len(same) > 1:
                numbers = ", ".join(map(str, same))
                raise InnersightError(
                    f"{self.name} has {len(same)} classes named {label!r}: give one of the numbers {numbers}"
                )
            if same:
                return same[0]
        number = whole(name)
        if number is None:
            raise InnersightError(f"{self.name} has no class {text!r}; {nearest(name, self.labels)}")
        return self._numbered(number)

    def _numbered(self, number: int) -> int:
        if 0 <= number < len(self.labels):
            return number
        raise InnersightError(f"class {number} is out of range: {self.name} has classes 0-{len(self.labels) - 1}")
