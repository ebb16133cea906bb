"""A whole layer."""

from torch import Tensor

from innersight.patterns.objectives import Read, Rows, objectives


@objectives.register(
    "DeepDream",
    source="Mordvintsev et al. 2015",
    takes="layer",
    example="dream(LAYER)",
)
def dream(rows: Rows) -> Read:
    """Drive the mean square of a layer, whatever its units respond to."""

    def read(values: Tensor) -> Tensor:
        return values[rows.at].float().square().mean((1, 2, 3))

    return read
