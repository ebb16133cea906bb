"""One scan of drawn numbers in a process of its own: prints its seconds and the most memory it took.

python -m benchmarks.scan_memory innersight 50000
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import innersight as ins
from innersight.input_spec import InputSpec
from innersight.layers import default_layers
from innersight.model import Model
from innersight.scan import Batching

SIDE, BATCH, TOP = 32, 32, 9


class Noise(Dataset):  # type: ignore[type-arg]
    """Network input, drawn by the number of the entry."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> Tensor:
        return torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(i))


def measured(contender: str, count: int) -> tuple[float, float]:
    """Return seconds and peak resident memory, MiB, of a contender over this many images."""
    command = [sys.executable, "-m", "benchmarks.scan_memory", contender, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    seconds, peak = json.loads(done.stdout.splitlines()[-1])
    return seconds, peak


def lists(model: Model, count: int) -> dict[str, Tensor]:
    """Keep every peak of every unit, and sort at the end."""
    peaks: dict[str, list[Tensor]] = {name: [] for name in default_layers(model)}
    modules = dict(model.net.named_modules())
    handles = [
        modules[name].register_forward_hook(lambda _m, _i, out, name=name: peaks[name].append(out.flatten(2).amax(2)))
        for name in peaks
    ]
    with torch.no_grad():
        for x in DataLoader(Noise(count), batch_size=BATCH):
            model.net(x)
    for handle in handles:
        handle.remove()
    return {name: torch.cat(values).topk(TOP, dim=0).values for name, values in peaks.items()}


def main(contender: str, count: int) -> None:
    model = ins.load(ins.load("toon").net, input=InputSpec(SIDE, SIDE))
    default_layers(model)
    start = time.perf_counter()
    if contender == "innersight":
        ins.scan(model, Noise(count), examples=TOP, batching=Batching(batch=BATCH))
    else:
        lists(model, count)
    print(json.dumps([time.perf_counter() - start, _peak()]))


def _peak() -> float:
    """Return the most resident memory of this process, MiB; `ru_maxrss` counts on Linux what its parent had, too."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / (1 << 10)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
