"""A unit of a layer."""

import torch
from torch import Tensor

from innersight.address import Address
from innersight.patterns.objectives import Read, Rows, objectives


@objectives.register(
    "Unit",
    source="Erhan et al. 2009, Visualizing Higher-Layer Features of a Deep Network",
    use="to see what a unit responds to",
    takes="units",
    example="LAYER:0",
)
def unit(rows: Rows) -> Read:
    """Maximize a unit: the mean of its activation map, or its value at one location."""
    addresses = [term.address for term in rows.terms if isinstance(term.address, Address)]
    units = rows.tensor([address.unit for address in addresses])
    locations = [address.location for address in addresses]
    y, x = (rows.tensor([location[axis] if location else 0 for location in locations]) for axis in (0, 1))
    located, some = rows.tensor([location is not None for location in locations], torch.bool), any(locations)
    sign = rows.tensor([1.0 if term.weight > 0 else -1.0 for term in rows.terms], torch.float32)

    def read(values: Tensor) -> Tensor:
        own = values[rows.at, units].float()
        # A unit that is to be inhibited is measured at its lowest location.
        result = (own * sign[:, None, None]).amax((1, 2)) * sign if rows.peak else own.mean((1, 2))
        if not some:
            return result
        return torch.where(located, own[torch.arange(len(own), device=own.device), y, x], result)

    return read
