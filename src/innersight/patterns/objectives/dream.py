"""A whole layer."""

from torch import Tensor

from innersight.patterns.objectives import Read, Rows, objectives


@objectives.register(
    "DeepDream",
    source="Mordvintsev et al. 2015, Inceptionism: Going Deeper into Neural Networks",
    use="to see what a whole layer responds to, best in a photograph (init)",
    takes="layer",
    example="dream(LAYER)",
)
def dream(rows: Rows) -> Read:
    """Maximize the mean square of a layer, whichever units respond."""

    def read(values: Tensor) -> Tensor:
        return values[rows.at].float().square().mean((1, 2, 3))

    return read
