"""On a cluster of three nodes, one of which is killed in the middle: the same bytes as on this machine."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import InPlace, tiny
from PIL import Image as PILImage
from test_scan_ledger import stored
from torch import Tensor

from innersight import remote
from innersight.errors import InnersightError
from innersight.model import Model
from innersight.patterns import PatternProgress, patterns
from innersight.scan import Batching, scan

ray = pytest.importorskip("ray")
pytestmark = [
    pytest.mark.cluster,
    # Of Ray's own processes and sockets, which it leaves to the end of Python.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]

COUNT, SHARD = 60, 8
OPTIONS: dict[str, Any] = {"examples": 3, "batching": Batching(batch=4, shard=SHARD)}
LAYERS = ("relu1", "relu2")
UNITS = ["relu1:0-5", "relu2:0-2"]
DRAWING: dict[str, Any] = {"steps": 20, "seeds": 4, "until": "steps"}


class Held(InPlace):
    """Notes in `gate` on which node it runs; waits there while the gate is shut for all, or for its node."""

    gate: Path
    driver: int

    def forward(self, x: Tensor) -> Tensor:
        if os.getpid() != self.driver:
            node = ray.get_runtime_context().get_node_id()
            (self.gate / f"at-{node}").touch()
            while (self.gate / "shut").exists() or (self.gate / f"shut-{node}").exists():
                time.sleep(0.02)
        return super().forward(x)


def held(gate: Path) -> Model:
    """The plainest of the tiny networks, with a gate."""
    model = tiny("in-place")
    net = Held()
    net.load_state_dict(model.net.state_dict())
    net.gate, net.driver = gate, os.getpid()
    return Model(net.eval(), model.input, model.labels, model.name, model.source)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Three nodes: this process is connected to the first, which has no room for workers."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        # What the workers import; and nothing is told to anybody.
        patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 << 20})
        for _ in range(2):
            add_node(found)
        yield found
        ray.shutdown()
        found.shutdown()


def add_node(cluster: Any) -> None:
    cluster.add_node(num_cpus=1, object_store_memory=80 << 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for i in range(COUNT):
        (folder / ("ash", "birch")[i % 2]).mkdir(exist_ok=True)
        pixels = rng.integers(0, 256, (30, 26, 3)).astype(np.uint8)
        PILImage.fromarray(pixels).save(folder / ("ash", "birch")[i % 2] / f"{i:02}.png")
    (folder / "birch" / "31-broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    (tmp_path / "gate").mkdir()
    return tmp_path / "gate"


@pytest.fixture
def hired(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every worker that was started."""
    found: list[int] = []
    hire = remote._WorkerPool._start_worker

    def counted(crew: Any) -> None:
        found.append(1)
        hire(crew)

    monkeypatch.setattr(remote._WorkerPool, "_start_worker", counted)
    return found


def while_a_node_dies(cluster: Any, gate: Path, work: Callable[[], object]) -> object:
    """Do the work; when both workers are inside of the network a node is killed, and only then the other may go on."""
    (gate / "shut").touch()
    doomed = next(iter(cluster.worker_nodes))

    def kill() -> None:
        end = time.monotonic() + 60
        try:
            while len(list(gate.glob("at-*"))) < 2 and time.monotonic() < end:
                time.sleep(0.05)
            (gate / f"shut-{doomed.node_id}").touch()
            cluster.remove_node(doomed, allow_graceful=False)
        finally:
            (gate / "shut").unlink()

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        return work()
    finally:
        killer.join()
        add_node(cluster)
        assert (gate / f"at-{doomed.node_id}").exists()


def test_a_connection_of_the_users_stays_and_what_is_not_ours_lives(cluster: Any, folder: Path) -> None:
    class Theirs:
        def ask(self) -> int:
            return 7

    ray.init(cluster.address, log_to_driver=False)
    theirs = ray.remote(Theirs).options(num_cpus=0).remote()
    assert ray.get(theirs.ask.remote()) == 7
    with pytest.raises(InnersightError, match="no machine of the cluster has 64 CPUs: ask for less"):
        scan(tiny("in-place"), folder, LAYERS, ray=f"{cluster.address}?cpus=64")
    with pytest.raises(KeyboardInterrupt):
        scan(tiny("in-place"), folder, LAYERS, **OPTIONS, ray=f"{cluster.address}?workers=1", progress=_interrupted)
    assert ray.get(theirs.ask.remote()) == 7
    end = time.monotonic() + 20
    while ray.available_resources().get("CPU") != ray.cluster_resources()["CPU"] and time.monotonic() < end:
        time.sleep(0.1)
    assert ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]  # none of our workers is left
    assert ray.get(theirs.ask.remote()) == 7
    ray.shutdown()


def _interrupted(_done: int, _total: int, _name: str) -> None:
    raise KeyboardInterrupt


def test_a_scan_outlives_a_node(cluster: Any, folder: Path, gate: Path, hired: list[int], tmp_path: Path) -> None:
    told: list[int] = []

    def work() -> object:
        return scan(
            held(gate), folder, LAYERS, **OPTIONS, out=tmp_path / "away", ray=cluster.address,
            progress=lambda done, _total, _name: told.append(done),
        )  # fmt: skip

    away = while_a_node_dies(cluster, gate, work)
    here = scan(held(gate), folder, LAYERS, **OPTIONS, out=tmp_path / "here")
    assert len(hired) >= 3  # the one that died was replaced
    assert stored(tmp_path / "away") == stored(tmp_path / "here")
    assert away.to_json() == here.to_json()  # type: ignore[attr-defined]
    assert told == [*range(SHARD, COUNT + 1, SHARD), COUNT + 1]
    assert not ray.is_initialized()


def test_a_scan_begun_here_ends_there_and_the_other_way_round(cluster: Any, folder: Path, tmp_path: Path) -> None:
    def stop(done: int, _total: int, _name: str) -> None:
        if done >= 3 * SHARD:
            raise KeyboardInterrupt

    address = f"{cluster.address}?workers=1"
    model = tiny("in-place")
    scan(model, folder, LAYERS, **OPTIONS, out=tmp_path / "whole")
    for name, first, second in (("a", None, address), ("b", address, None)):
        with pytest.raises(KeyboardInterrupt):
            scan(model, folder, LAYERS, **OPTIONS, out=tmp_path / name, ray=first, progress=stop)
        assert stored(tmp_path / name)[1][1] == 3 * SHARD
        scan(model, folder, LAYERS, **OPTIONS, out=tmp_path / name, ray=second)
        assert stored(tmp_path / name) == stored(tmp_path / "whole")


def test_patterns_outlive_a_node(cluster: Any, gate: Path, hired: list[int], tmp_path: Path) -> None:
    told: list[PatternProgress] = []

    def work() -> object:
        return patterns(held(gate), UNITS, **DRAWING, ray=cluster.address, keep=tmp_path / "kept", progress=told.append)

    away: Any = while_a_node_dies(cluster, gate, work)
    here = patterns(held(gate), UNITS, **DRAWING)
    assert len(hired) >= 3
    assert torch.equal(away.every, here.every)
    assert torch.equal(away.importance, here.importance)
    assert away.to_json() == here.to_json()
    assert len(list((tmp_path / "kept").glob("*.safetensors"))) == len(here.every) * DRAWING["seeds"]
    assert told[-1].done == told[-1].total == len(here.every) * DRAWING["seeds"]
