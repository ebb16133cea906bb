"""A sparse autoencoder."""

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from innersight.errors import InnersightError
from innersight.factorizations.kinds import Fit, factorizations
from innersight.factorizations.kinds.kmeans import clusters

BATCH = 1024
RATE = 3e-3
# Directions that no vector uses start anew until this share of the steps.
REVIVED = 0.75


def encode(
    vectors: Float[Tensor, "n units"], directions: Float[Tensor, "concepts units"], tensors: Mapping[str, Tensor]
) -> Float[Tensor, "n concepts"]:
    """Return the highest responses of the encoder to each vector, where above zero; 0 for the others."""
    responses = torch.addmm(tensors["bias"].to(vectors), vectors, tensors["encoder"].to(vectors).T).clamp(min=0)
    return _highest(responses, int(tensors["active"]))


def _highest(responses: Float[Tensor, "n concepts"], active: int) -> Float[Tensor, "n concepts"]:
    values, at = responses.topk(active, dim=1)
    return torch.zeros_like(responses).scatter(1, at, values)


def check(tensors: Mapping[str, Tensor], concepts: int) -> None:
    """Raise InnersightError where more concepts are active than there are, or none."""
    if not 1 <= int(tensors["active"]) <= concepts:
        raise InnersightError(f"active={int(tensors['active'])}: give 1 to {concepts}, the number of concepts")


@factorizations.register(
    "Sparse autoencoder",
    source="Gao et al. 2024, arXiv:2406.04093",
    use="for more concepts than units, of which few are present at each location",
    encode=encode,
    check=check,
    shapes={"encoder": ("concepts", "units"), "bias": ("concepts",), "active": ()},
    sized=("bias",),
    most=lambda vectors, units: vectors,
    limits="seeds and images change its concepts more than those of the others",
)
def sae(vectors: Float[Tensor, "n units"], count: int, seed: int, *, active: int = 0, steps: int = 1000) -> Fit:
    """Directions of which each vector is the sum of a few, picked by a linear encoder (TopK).

    It starts from the clusters of `kmeans`, which makes it more stable than a random start does. A direction that no
    vector used for the length of an epoch starts anew, at what a vector that is explained badly
    lacks (Bricken et al. 2023, https://transformer-circuits.pub/2023/monosemantic-features).

    Parameters
    ----------
    vectors
        (N, units).
    count
        Of the concepts.
    seed
        Of the start and of the batches.
    active
        How many concepts a vector may have; 0 for a quarter of them, at most 32.
    steps
        Of the training, with 1,024 vectors each.

    """
    active = active or min(32, -(-count // 4))
    check({"active": torch.tensor(active)}, count)
    if steps < 1:
        raise InnersightError(f"sae: steps={steps}: give 1 or more")
    offset = vectors.mean(0)
    centred = vectors - offset
    scale = centred.square().sum(1).mean().sqrt()
    with torch.inference_mode(False), torch.enable_grad():
        start = clusters(centred, count, seed, 1).float()
        training = _Training((centred / scale).float(), start, active, seed)
        for step in range(steps):
            training.step(step / steps)
    notes = (f"{training.unused} of {count} concepts are used by no vector",) if training.unused else ()
    tensors = {"encoder": training.encoder, "bias": training.bias.double() * scale, "active": torch.tensor(active)}
    return Fit(training.directions.detach(), offset, {name: one.detach() for name, one in tensors.items()}, notes)


class _Training:
    """Weights, optimizer and what was used, between two steps."""

    def __init__(
        self, vectors: Float[Tensor, "n units"], start: Float[Tensor, "concepts units"], active: int, seed: int
    ) -> None:
        self.vectors, self.active = vectors, active
        self.random = torch.Generator().manual_seed(seed)
        self.directions = normalize(start, dim=1).requires_grad_()
        self.encoder = self.directions.detach().clone().requires_grad_()
        self.bias = torch.zeros(len(start), requires_grad=True)
        self.parameters = [self.directions, self.encoder, self.bias]
        self.optimizer = torch.optim.Adam(self.parameters, lr=RATE)
        self.epoch = -(-len(vectors) // BATCH)
        self.idle = torch.zeros(len(start), dtype=torch.int64)

    @property
    def unused(self) -> int:
        """How many directions no vector uses."""
        responses = (self.vectors @ self.encoder.detach().T + self.bias.detach()).clamp(min=0)
        return int((~_highest(responses, self.active).any(0)).sum())

    def step(self, done: float) -> None:
        """Train on one batch. done : the share of the training that lies behind, 0 to 1."""
        for group in self.optimizer.param_groups:
            # The last fifth settles.
            group["lr"] = RATE * min(1, 5 * (1 - done))
        batch = self.vectors[torch.randint(len(self.vectors), (BATCH,), generator=self.random)]
        codes = _highest((batch @ self.encoder.T + self.bias).clamp(min=0), self.active)
        missing = batch - codes @ self.directions
        loss = missing.square().sum(1).mean()
        gradients = torch.autograd.grad(loss, self.parameters)
        with torch.no_grad():
            # Not along a direction itself: its length is fixed.
            along = (gradients[0] * self.directions).sum(1, keepdim=True) * self.directions
            for parameter, gradient in zip(self.parameters, (gradients[0] - along, *gradients[1:]), strict=True):
                parameter.grad = gradient
        self.optimizer.step()
        with torch.no_grad():
            self.directions.copy_(normalize(self.directions, dim=1))
            self.idle = torch.where(codes.any(0), 0, self.idle + 1)
            idle = (self.idle > self.epoch).nonzero()[:, 0]
            if len(idle) and done < REVIVED and bool(missing.any()):
                self._revive(idle, missing.detach())

    def _revive(self, idle: Tensor, missing: Float[Tensor, "n units"]) -> None:
        size = missing.square().sum(1)
        # As many may be idle as vectors are in the batch, and more.
        drawn = (size + size.mean() * 1e-6).multinomial(len(idle), replacement=True, generator=self.random)
        fresh = normalize(missing[drawn], dim=1)
        self.directions[idle], self.encoder[idle], self.bias[idle] = fresh, fresh, 0
        for parameter in self.parameters:
            for moment in ("exp_avg", "exp_avg_sq"):
                self.optimizer.state[parameter][moment].index_fill_(0, idle, 0)
        self.idle[idle] = 0
