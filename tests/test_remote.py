"""Pieces spread over workers: in order, whoever dies; addresses and errors. What needs a cluster is in test_ray."""

from __future__ import annotations

import importlib
import pickle
import random
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from networks import image, tiny
from test_scan_ledger import stored
from torch import nn

from innersight import remote
from innersight.cli import main
from innersight.errors import InnersightError, MissingExtraError
from innersight.model import Model
from innersight.patterns import patterns
from innersight.remote import Cluster, parse, spread
from innersight.scan import Batching, scan


class Pool:
    """Workers that finish, or die, in a drawn order."""

    def __init__(self, size: int, seed: int, deadly: float) -> None:
        self.size, self.draw, self.deadly = size, random.Random(seed), deadly
        self.queues: list[list[tuple[int, int]]] = [[] for _ in range(size)]
        self.given: list[int] = []
        self.deaths: dict[int, int] = {}

    def room(self) -> bool:
        return any(len(queue) < remote.DEPTH for queue in self.queues)

    def send(self, number: int, piece: int) -> None:
        self.given.append(number)
        min(self.queues, key=len).append((number, piece))

    def wait(self) -> list[tuple[int, Any, str | None]]:
        queue = self.draw.choice([queue for queue in self.queues if queue])
        numbers = [number for number, _ in queue]
        if self.draw.random() < self.deadly and all(self.deaths.get(n, 0) < remote.TRIES - 1 for n in numbers):
            self.deaths |= {number: self.deaths.get(number, 0) + 1 for number in numbers}
            queue.clear()
            return [(number, None, "died") for number in numbers]
        number, piece = queue.pop(0)
        return [(number, piece * piece, None)]


@given(st.integers(0, 40), st.integers(1, 5), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.9]))
def test_answers_come_in_order_whoever_dies(count: int, size: int, seed: int, deadly: float) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for i in range(count):
            taken.append(i)
            yield i

    pool: Any = Pool(size, seed, deadly)
    answers = []
    for answer in remote._in_order(pool, source(), str):
        answers.append(answer)
        # Bounded: no more is under way, or waits for an earlier answer, than so many.
        assert len(taken) <= len(answers) + remote.WINDOW * remote.DEPTH * size + 1
    assert answers == [i * i for i in range(count)]
    assert set(pool.given) == set(range(count))
    assert len(pool.given) == count + sum(pool.deaths.values())


def test_a_piece_at_which_every_worker_dies_is_named() -> None:
    class Cursed(Pool):
        def wait(self) -> list[tuple[int, Any, str | None]]:
            ((number, _),) = self.queues[0]
            self.queues[0].clear()
            return [(number, None, "the worker ran out of memory")]

    pool: Any = Cursed(1, 0, 0)
    with pytest.raises(
        InnersightError, match=r"3 workers died at piece 7, the last one with: the worker ran out of mem"
    ):
        list(remote._in_order(pool, [7], lambda piece: f"piece {piece}"))
    assert len(pool.given) == 3


def test_an_address_with_options() -> None:
    model = tiny("in-place")
    assert parse("auto", model) == Cluster("auto", None, torch.get_num_threads(), 0.0)
    assert parse("10.0.0.1:6379?workers=4&cpus=2&gpus=0.5", model) == Cluster("10.0.0.1:6379", 4, 2, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no cluster"),
        ("auto?worker=4", "no option 'worker'; did you mean workers"),
        ("auto?cpus=two", "cpus is 'two'; give a number"),
        ("auto?cpus=0", "cpus is 0; give at least 1"),
        ("auto?gpus=nan", "gpus is nan; give at least 0"),
    ],
)
def test_an_address_that_makes_no_sense_is_told(text: str, message: str) -> None:
    with pytest.raises(InnersightError, match=re.escape(message)):
        parse(text, tiny("in-place"))


def _scan(model: Model, address: str) -> object:
    return scan(model, _images(), ["relu1"], ray=address)


def _patterns(model: Model, address: str) -> object:
    return patterns(model, "relu1:0", steps=1, ray=address)


def _images() -> Any:
    class Two:
        def __len__(self) -> int:
            return 2

        def __getitem__(self, number: int) -> Any:
            return image(number)

    return Two()


BOTH = pytest.mark.parametrize("run", [_scan, _patterns])


@BOTH
def test_without_ray_the_remedy_is_named(run: Callable[[Model, str], object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=re.escape("ray is not installed; install it with: pip install 'inn")):
        run(tiny("in-place"), "auto")


@BOTH
def test_an_address_where_nothing_listens_is_told(run: Callable[[Model, str], object]) -> None:
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(InnersightError, match=rf"no Ray cluster at {free} .*ray start --head"):
        run(tiny("in-place"), free)


def test_a_network_that_cannot_be_pickled_is_told() -> None:
    ray = pytest.importorskip("ray")

    class Locked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    model = tiny("in-place")
    model.net.add_module("locked", Locked())
    with pytest.raises(InnersightError, match=r"cannot be sent to other machines \(cannot pickle '_thread.lock'"):
        remote._packed(ray, model, print)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for i in range(50):
        (tmp_path / "images" / "ash").mkdir(parents=True, exist_ok=True)
        image(i).pil.save(tmp_path / "images" / "ash" / f"{i:02}.png")
    return tmp_path / "images"


Pieces = Iterable[Any]


@pytest.mark.parametrize("seed", range(2))
def test_every_shard_adds_what_it_adds_here(
    seed: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each shard, not only at the end, although workers do shards in any order and leave out what they can."""
    shards = importlib.import_module("innersight.scan.shards")
    draw = random.Random(seed)

    def pickled(_: str, model: Model, work: Any, pieces: Pieces, _told: object) -> Iterator[Any]:
        workers = [pickle.loads(pickle.dumps(work)) for _ in range(3)]
        order = list(enumerate(pieces))
        draw.shuffle(order)
        done = {i: pickle.loads(pickle.dumps(draw.choice(workers)(model, piece))) for i, piece in order}
        return (done[i] for i in range(len(done)))

    monkeypatch.setattr(shards, "spread", pickled)
    found: list[list[Any]] = [[], []]
    for at, ray in enumerate((None, "auto")):
        out = tmp_path / f"{at}"

        def note(_done: int, _total: int, _name: str, at: int = at, out: Path = out) -> None:
            found[at].append(stored(out))

        scan(
            tiny("in-place"),
            folder,
            ["relu1", "relu2"],
            examples=1,
            batching=Batching(batch=2, shard=6),
            out=out,
            ray=ray,
            progress=note,
        )
    assert len(found[0]) == 9
    assert found[0] == found[1]


def test_a_file_that_other_machines_do_not_have_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = importlib.import_module("innersight.scan.shards")
    hidden = folder / "ash" / "07.png"
    (folder / "ash" / "09.png").write_bytes(b"no image")  # broken on every machine: skipped, as it is here

    def elsewhere(_: str, model: Model, work: Any, pieces: Pieces, _told: object) -> Iterator[Any]:
        for piece in pieces:
            away = hidden.rename(folder.parent / "away")
            answer = work(model, piece)
            away.rename(hidden)
            yield answer

    monkeypatch.setattr(shards, "spread", elsewhere)
    with pytest.raises(InnersightError, match=r"07\.png does not exist on .*: image files must be found under"):
        scan(tiny("in-place"), folder, ["relu1"], ray="auto")
    hidden.unlink()
    monkeypatch.setattr(shards, "spread", lambda _c, model, work, pieces, _t: (work(model, piece) for piece in pieces))
    assert scan(tiny("in-place"), folder, ["relu1"], ray="auto").images == 48


def test_other_versions_and_weights_are_refused() -> None:
    here = remote._about(tiny("in-place"))
    remote._check("east", remote._about(pickle.loads(pickle.dumps(tiny("in-place")))), here)
    with pytest.raises(InnersightError, match=r"east has torch 1\.0 and this machine"):
        remote._check("east", here | {"torch": "1.0"}, here)
    with pytest.raises(InnersightError, match=r"east has a network with the weights \w+ and this machine \w+"):
        remote._check("east", remote._about(tiny("in-place", seed=1)), here)


def test_nothing_to_do_asks_nothing_of_workers() -> None:
    pool: Any = Pool(2, 0, 0)
    assert list(remote._in_order(pool, [], str)) == []
    assert pool.given == []


def test_closing_early_is_allowed_before_anything_began() -> None:
    spread("auto", tiny("in-place"), print, [], str).close()


@pytest.mark.parametrize("words", [["scan", "toon", "{folder}"], ["patterns", "toon", "stage1:0", "--steps", "1"]])
def test_the_command_line_takes_an_address(
    words: list[str],
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(sys, "argv", ["innersight", *(word.format(folder=folder) for word in words), "--ray", "auto"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "pip install 'innersight[ray]'" in capsys.readouterr().err
