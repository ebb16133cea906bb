"""Work on other machines: pieces are spread over workers on a Ray cluster, and their answers come back in order."""

import copy
import hashlib
import os
import pickle
import socket
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

import torch

from innersight import __version__
from innersight.errors import InnersightError, MissingExtraError, nearest
from innersight.model import Model

T = TypeVar("T")
R = TypeVar("R")
Work = Callable[[Model, T], R]

DEPTH = 2  # pieces with one worker: the next one is there when it has done one
WINDOW = 2  # times as many may be under way, or wait for an earlier answer
TRIES = 3  # workers that may die at the same piece
PATIENCE = 300.0  # seconds without any worker
CONNECT = 5.0  # seconds for the first answer from an address


@dataclass(frozen=True)
class Cluster:
    """Where work goes. address : as `ray.init` takes it; "local" starts Ray on this machine, for this work alone.

    workers : how many; as many as there is room for when None. cpus, gpus : of each. A worker computes with as many
    threads as it has CPUs, and on the GPU where it has one.
    """

    address: str
    workers: int | None
    cpus: int
    gpus: float


def parse(text: str, model: Model) -> Cluster:
    """Read `ADDRESS?workers=4&cpus=2&gpus=1`.

    By default a worker has as many CPUs as threads compute here, so that its numbers are those of this machine, bit for
    bit, and a GPU where `model` is on one. Raises InnersightError for other options, and for values that are no number.
    """
    address, _, rest = text.partition("?")
    asked: dict[str, float] = {}
    for key, value in parse_qsl(rest, keep_blank_values=True):
        if key not in ("workers", "cpus", "gpus"):
            raise InnersightError(f"{text!r}: no option {key!r}; {nearest(key, ('workers', 'cpus', 'gpus'))}")
        try:
            asked[key] = float(value) if key == "gpus" else int(value)
        except ValueError as error:
            raise InnersightError(f"{text!r}: {key} is {value!r}; give a number") from error
        if not asked[key] >= (0 if key == "gpus" else 1):
            raise InnersightError(f"{text!r}: {key} is {value}; give at least {0 if key == 'gpus' else 1}")
    if not address:
        raise InnersightError(f"{text!r} names no cluster: write HOST:PORT, auto or local")
    workers = int(asked["workers"]) if "workers" in asked else None
    gpus = asked.get("gpus", 1.0 if model.device.type == "cuda" else 0.0)
    return Cluster(address, workers, int(asked.get("cpus", torch.get_num_threads())), gpus)


def spread(
    cluster: str, model: Model, work: "Work[T, R]", pieces: Iterable[T], told: Callable[[T], str]
) -> Generator[R, None, None]:
    """Yield `work(model, piece)` for every piece, in their order, computed by workers on a Ray cluster.

    cluster : see `parse`. Each worker is sent `model` and `work` once, and gets pieces in their order, but for those
    whose worker died: they go to another one. Pieces are taken as they are needed, and a bounded number of answers
    waits for an earlier one. told : names a piece in errors.

    When it ends, is closed, or an error leaves it, our workers are stopped and nothing else on the cluster is. Raises
    InnersightError for a cluster that cannot be reached or has no room, a model that cannot be sent, a worker with
    other versions, and a piece at which three workers died; what `work` raises; MissingExtraError without Ray.
    """
    asked = parse(cluster, model)
    with _connected(asked.address) as ray, closing(_Crew(ray, asked, model, work)) as crew:
        yield from _in_order(crew, pieces, told)


def _in_order(crew: "_Crew[T, R]", pieces: Iterable[T], told: Callable[[T], str]) -> Iterator[R]:
    source = enumerate(pieces)
    waiting: dict[int, T] = {}
    given: dict[int, T] = {}
    answers: dict[int, R] = {}
    died: Counter[int] = Counter()
    wanted = 0
    while True:
        while True:
            if not waiting:
                waiting.update(islice(source, 1))
            if not waiting or min(waiting) >= wanted + WINDOW * DEPTH * crew.size or not crew.room():
                break
            number = min(waiting)
            given[number] = waiting.pop(number)
            crew.give(number, given[number])
        if not waiting and not given:
            return
        for number, answer, loss in crew.wait():
            piece = given.pop(number)
            if loss is None:
                answers[number] = answer
                continue
            died[number] += 1
            if died[number] == TRIES:
                raise InnersightError(
                    f"{TRIES} workers died at {told(piece)}, the last one with: {loss}; "
                    "try that part on this machine, without Ray"
                )
            waiting[number] = piece
        while wanted in answers:
            yield answers.pop(wanted)
            wanted += 1


class _Crew(Generic[T, R]):
    """Our workers on the cluster, and what each is at. size : how many there are to be."""

    def __init__(self, ray: Any, asked: Cluster, model: Model, work: "Work[T, R]") -> None:
        self._ray, self._asked = ray, asked
        self.size = _size(ray, asked)
        self._sent = ray.put(_packed(ray, model, work))
        self._kind = ray.remote(_Worker)
        self._workers: list[Any] = []
        self._ready: set[Any] = set()
        # What was asked of which worker: the number of a piece, or None while it starts.
        self._asked_for: dict[Any, tuple[Any, int | None]] = {}
        self._about = _about(model)
        self._stillborn = 0
        self._alone_since = time.monotonic()
        for _ in range(self.size):
            self._hire()

    def room(self) -> bool:
        """Say whether a worker is there for one more piece."""
        return any(self._load(worker) < DEPTH for worker in self._ready)

    def give(self, number: int, piece: T) -> None:
        """Give a piece to the worker with the least to do."""
        worker = min((one for one in self._workers if one in self._ready), key=self._load)
        self._asked_for[worker.answer.remote(piece)] = worker, number

    def wait(self) -> list[tuple[int, Any, str | None]]:
        """Return (number, answer, None) of finished pieces, and (number, None, why) of those whose worker died."""
        done, _ = self._ray.wait(list(self._asked_for), num_returns=1, timeout=1.0)
        found: list[tuple[int, Any, str | None]] = []
        for ref in done:
            if ref not in self._asked_for:  # of a worker that was dismissed in this very turn
                continue
            worker, number = self._asked_for[ref]
            try:
                answer = self._get(ref)
            except _LostError as loss:
                found += [(lost, None, str(loss)) for lost in self._dismiss(worker)]
                # One that dies as it starts: its machine may have gone shortly before, or it would die anywhere.
                self._stillborn += number is None
                if self._stillborn == TRIES * self.size:
                    raise InnersightError(
                        f"{self._stillborn} workers in a row died as they started, the last one with: {loss}"
                    ) from loss
                self._hire()
                continue
            del self._asked_for[ref]
            if number is None:
                machine, about = answer
                _check(machine, about, self._about)
                self._ready.add(worker)
                self._stillborn = 0
            else:
                found.append((number, answer, None))
        if self._ready:
            self._alone_since = time.monotonic()
        elif time.monotonic() - self._alone_since > PATIENCE:
            raise InnersightError(
                f"no machine of the cluster had {_needs(self._asked)} free for {PATIENCE:.0f} s; what is finished is "
                f"kept. Try again, or ask for less, as in {self._asked.address}?cpus=1"
            )
        return found

    def close(self) -> None:
        """Stop our workers."""
        for worker in list(self._workers):
            self._dismiss(worker)

    def _hire(self) -> None:
        options = {"num_cpus": self._asked.cpus, "num_gpus": self._asked.gpus, "max_restarts": 0}
        worker = self._kind.options(**options).remote()
        self._workers.append(worker)
        self._asked_for[worker.start.remote(self._sent, self._asked.cpus)] = worker, None

    def _dismiss(self, worker: Any) -> list[int]:
        """Stop a worker; return the pieces it was at."""
        self._ray.kill(worker)
        self._workers.remove(worker)
        self._ready.discard(worker)
        own = [ref for ref, (at, _) in self._asked_for.items() if at is worker]
        numbers = [self._asked_for.pop(ref)[1] for ref in own]
        return [number for number in numbers if number is not None]

    def _load(self, worker: Any) -> int:
        return sum(at is worker for at, _ in self._asked_for.values())

    def _get(self, ref: Any) -> Any:
        """Return an answer; raise what the work raised, or _LostError when the worker or its machine is gone."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ref)
        except errors.RayTaskError as error:
            if isinstance(error.cause, InnersightError):
                raise error.cause from None
            raise
        except (
            errors.RayActorError, errors.WorkerCrashedError, errors.NodeDiedError, errors.ObjectLostError,
            errors.OutOfMemoryError,
        ) as error:  # fmt: skip
            raise _LostError(str(error).strip().splitlines()[0]) from error


class _LostError(Exception):
    """A worker or its machine is gone."""


class _Worker:
    """Runs on another machine: holds the network, and answers pieces one after the other."""

    def start(self, sent: bytes, threads: int) -> tuple[str, dict[str, str]]:
        """Unpack network and work; return the name of the machine, and what must be the same there."""
        import ray

        torch.set_num_threads(threads)
        try:
            model, self._work = pickle.loads(sent)
        except (ImportError, AttributeError) as error:
            raise InnersightError(
                f"the network cannot be built on {socket.gethostname()} ({error}): install there what it is made of"
            ) from error
        about = _about(model)
        if ray.get_gpu_ids():
            model.net.to("cuda")
        self._model = model
        return socket.gethostname(), about

    def answer(self, piece: Any) -> Any:
        """Return what the work makes of a piece."""
        return self._work(self._model, piece)


def _packed(ray: Any, model: Model, work: "Work[Any, Any]") -> bytes:
    """Return network and work as bytes; the network goes by way of the CPU, as not every machine has our device."""
    if model.device.type != "cpu":
        model = replace(model, net=copy.deepcopy(model.net).cpu())
    try:
        packed: bytes = ray.cloudpickle.dumps((model, work))
    # What pickle raises for what it cannot write, by kind of object.
    except (TypeError, AttributeError, NotImplementedError, RuntimeError, pickle.PicklingError) as error:
        raise InnersightError(
            f"{model.name} cannot be sent to other machines ({error}); work on this one, or give it as a network "
            "that pickle can write"
        ) from error
    return packed


def _size(ray: Any, asked: Cluster) -> int:
    """Return how many workers there are to be."""
    if asked.workers is not None:
        return asked.workers
    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            there = int(node["Resources"].get("CPU", 0) // asked.cpus)
            room += min(there, int(node["Resources"].get("GPU", 0) // asked.gpus)) if asked.gpus else there
    if not room:
        raise InnersightError(
            f"no machine of the cluster has {_needs(asked)}: ask for less, as in {asked.address}?cpus=1"
        )
    return room


def _needs(asked: Cluster) -> str:
    cpus = f"{asked.cpus} CPU{'s' if asked.cpus > 1 else ''}"
    return f"{cpus} and {asked.gpus:g} GPU{'s' if asked.gpus > 1 else ''}" if asked.gpus else cpus


def _about(model: Model) -> dict[str, str]:
    """Return what results depend on besides the pieces: versions, and a digest of the weights, whatever their names."""
    # Pickle may give a Keras network other names; it must never give any network other weights.
    tensors = [tensor.detach().cpu().float().numpy().tobytes() for tensor in model.net.state_dict().values()]
    weights = hashlib.sha256(b"".join(sorted(hashlib.sha256(one).digest() for one in tensors))).hexdigest()[:16]
    return {"innersight": __version__, "torch": torch.__version__, "a network with the weights": weights}


def _check(machine: str, there: Mapping[str, str], here: Mapping[str, str]) -> None:
    for what, value in here.items():
        if there.get(what) != value:
            raise InnersightError(
                f"{machine} has {what} {there.get(what)} and this machine {value}: results would differ; "
                "have the same there"
            )


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Give Ray, connected; a connection that was there before is used, and stays."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    if ray.is_initialized():
        yield ray
        return
    _check_address(address)
    # Ray started for this work alone tells nobody of it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="warning", include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InnersightError(f"no Ray cluster answers at {address} ({error})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise InnersightError where nothing listens; Ray itself would try for a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        with socket.create_connection((host, int(port)), CONNECT):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise InnersightError(
            f"no Ray cluster answers at {address} ({error}); start one with `ray start --head`, or name another address"
        ) from error
