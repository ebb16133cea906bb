"""Remove and debias."""

from jaxtyping import Float
from torch import Tensor

from innersight.heatmaps.masked import MaskedPasses
from innersight.trust.case import Case
from innersight.trust.faithfulness import curves, masks_of
from innersight.trust.metrics import metrics

STEPS = 5


@metrics.register(
    "ROAD",
    source="Rong et al. 2022, arXiv:2202.00449",
    better="high",
    protocol=True,
    imputer="inpaint",
    masks=lambda methods, maps, steps: masks_of(maps, STEPS),
)
def road(case: Case) -> MaskedPasses[Float[Tensor, " maps"]]:
    """Half the mean difference of the probability with the least and with the most important pixels inpainted.

    Combined as in pytorch-grad-cam: 20, 40, 60 and 80% of the pixels.
    """
    found = yield from curves(case.orders, STEPS)
    return (found.insertion - found.deletion)[:, 1:-1, 0].mean(1) / 2
