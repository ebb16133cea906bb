"""Heads of kinds of networks: multi-label, embedding, segmentation."""

import hashlib
from functools import partial
from typing import Any

from jaxtyping import Bool, Float
from torch import Tensor

from innersight.errors import InnersightError
from innersight.heads.head import Fitted, Head, Outputs
from innersight.heads.outputs import plain, tensor_of
from innersight.heads.recognise import about, fitted, over
from innersight.quotients import normalised


def multilabel() -> Head:
    """Return the head of a network with one independent logit for each label; probabilities are sigmoids.

    A network that ends in the sigmoid itself is read as its logits, and a single output as the classes no and yes.

    Returns
    -------
    Head
        For `innersight.load(..., head=)`.

    Examples
    --------
    >>> import innersight as ins
    >>> from innersight.heads import multilabel
    >>> ins.load("small:8", head=multilabel()).head.link
    'sigmoid'

    """
    return Head(plain, "sigmoid", fit=partial(fitted, independent=True))


def similarity(references: Float[Tensor, "classes features"]) -> Head:
    """Return the head of an embedding network: the cosine similarity, -1 to 1, to each reference embedding.

    Parameters
    ----------
    references
        (classes, features): one embedding for each "class", such as `model.net(image.tensor(model.input)[None])` of an
        image.

    Returns
    -------
    Head
        For `innersight.load(..., head=)`.

    Raises
    ------
    InnersightError
        Where the network's embeddings have another number of features.

    Examples
    --------
    >>> import torch
    >>> import innersight as ins
    >>> from innersight.heads import similarity
    >>> model = ins.load("small:8", classes=5, head=similarity(torch.eye(5)[:2]))
    >>> model.labels, model.head.unit
    (('0', '1'), 'cosine')

    """
    unit = normalised(references.detach().float(), 1)

    def read(output: Any) -> Tensor:
        found = tensor_of(output)[1]
        # A network that squeezes its batch away gives no row but the features themselves for a single image.
        embedding = found[None] if found.ndim == 1 and len(found) == unit.shape[1] else found.flatten(1)
        if embedding.shape[1] != unit.shape[1]:
            raise InnersightError(
                f"the network's embeddings have {embedding.shape[1]} features but the references have {unit.shape[1]}"
            )
        return normalised(embedding, 1) @ unit.to(embedding.device, embedding.dtype).T

    def fit(outputs: Outputs) -> Fitted:
        return Fitted(head, notes=tuple(about(outputs, *tensor_of(outputs.several))))

    head = Head(read, "none", "cosine", _mark(unit), fit)
    return head


def region(mask: "Bool[Tensor, 'H W'] | None" = None) -> Head:
    """Return the head of a segmentation network: the logit of each class averaged over a region.

    Parameters
    ----------
    mask
        (H, W) bool, True inside the region; resized to the output's grid. The whole image by default.

    Returns
    -------
    Head
        For `innersight.load(..., head=)` of a network that returns (B, classes, h, w).

    Raises
    ------
    InnersightError
        For a mask that is False everywhere.

    Notes
    -----
    Seg-Grad-CAM (Vinogradova et al. 2020, arXiv:2002.11434) sums the logits; an average does not depend on the size of
    the region.

    Examples
    --------
    >>> import torch
    >>> from innersight.heads import region
    >>> region(torch.ones(4, 4, dtype=torch.bool)).unit
    'mean logits of the region'

    """
    if mask is not None and not mask.any():
        raise InnersightError("the region is empty: the mask is False everywhere")
    mark = "" if mask is None else _mark(mask)
    return Head(
        lambda output: over(tensor_of(output)[1], mask),
        "none",
        "mean logits of the region",
        mark,
        partial(fitted, mask=mask, mark=mark, grid=True),
    )


def _mark(values: Tensor) -> str:
    plain = values.detach().cpu().contiguous()
    return hashlib.sha256(f"{tuple(plain.shape)} {plain.dtype}".encode() + plain.numpy().tobytes()).hexdigest()[:16]
