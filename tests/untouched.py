"""The state of a network and of the random generators, before and after a call."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

from innersight.model import Model


def dishevel(model: Model) -> None:
    """Bring the network into a state that a careless restore would not give back."""
    net = model.net
    net.train()
    next(m for m in net.modules() if isinstance(m, nn.Conv2d)).eval()
    for i, parameter in enumerate(net.parameters()):
        parameter.requires_grad_(i % 3 != 1)
        if i % 2:
            parameter.grad = torch.full_like(parameter, 0.5)
    first = next(m for m in net.modules() if isinstance(m, nn.Conv2d))
    first.register_forward_hook(lambda *_: None)
    last = list(net.modules())[-1]
    last.forward = last.forward


HOOKS = [key for key in vars(nn.Module()) if "hooks" in key]


def _is_hooks(key: str, value: object) -> bool:
    return key.startswith("_global") and isinstance(value, dict)


def state(model: Model) -> dict[str, Any]:
    found: dict[str, Any] = {
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "torch rng": torch.get_rng_state().tolist(),
        "numpy rng": repr(np.random.get_state()),
        "python rng": random.getstate(),
        "state_dict": {k: (v.dtype, v.clone()) for k, v in model.net.state_dict().items()},
        "defaults": (torch.get_default_dtype(), torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()),
        "global hooks": {key: len(value) for key, value in vars(nn.modules.module).items() if _is_hooks(key, value)},
    }
    for name, module in model.net.named_modules():
        found[f"{name} mode"] = module.training
        found[f"{name} hooks"] = {key: dict(vars(module)[key]) for key in HOOKS}
        found[f"{name} attributes"] = sorted(vars(module))
        found[f"{name} forward"] = vars(module).get("forward")
    for name, parameter in model.net.named_parameters():
        found[f"{name} requires_grad"] = parameter.requires_grad
        found[f"{name} identity"] = id(parameter)
        found[f"{name} grad"] = None if parameter.grad is None else (id(parameter.grad), parameter.grad.tolist())
    return found


@contextmanager
def unchanged(model: Model) -> Iterator[None]:
    before = state(model)
    try:
        yield
    finally:
        after = state(model)
        assert after.keys() == before.keys()
        for key, value in before.items():
            if key == "state_dict":
                for name, (dtype, tensor) in value.items():
                    assert after[key][name][0] == dtype, name
                    assert torch.equal(after[key][name][1], tensor), name
            else:
                assert after[key] == value, key
