"""Work on other machines: pieces are spread over workers on a Ray cluster, and results come back in order."""

import copy
import hashlib
import os
import pickle
import socket
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
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

DEPTH = 2  # pieces sent to one worker: the next one is at hand when it has finished one
WINDOW = 2  # times as many may be in progress, or wait for an earlier result
TRIES = 3  # workers that may die at the same piece
TIMEOUT = 300.0  # seconds without any worker
CONNECT = 5.0  # seconds for a connection to an address


@dataclass(frozen=True)
class Cluster:
    """A cluster and its workers. address : as `ray.init` takes it; "local" starts Ray on this machine for this call.

    workers : how many; as many as fit when None. cpus, gpus : of each. A worker computes with as many threads as it has
    CPUs, and on the GPU where it has one.
    """

    address: str
    workers: int | None
    cpus: int
    gpus: float


def parse(text: str, model: Model) -> Cluster:
    """Read `ADDRESS?workers=4&cpus=2&gpus=1`.

    By default a worker has as many CPUs as this process has threads, so that its results are those of this machine, bit
    for bit, and a GPU where `model` is on one. Raises InnersightError for other options, and for values that are not
    numbers.
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
    cluster: str, model: Model, work: "Work[T, R]", pieces: Iterable[T], name: Callable[[T], str]
) -> Generator[R, None, None]:
    """Yield `work(model, piece)` for every piece, in order, computed by workers on a Ray cluster.

    cluster : see `parse`. Each worker is sent `model` and `work` once, and gets pieces in order; a piece whose worker
    died goes to another one. Pieces are taken as they are needed, and a bounded number of results waits for an earlier
    one. name : returns the name of a piece, for errors.

    When it ends, is closed, or raises, its workers are stopped and nothing else on the cluster is. Raises
    InnersightError for a cluster that cannot be reached or has no room, a model that cannot be sent, a worker with
    other versions, and a piece at which three workers died; what `work` raises; MissingExtraError without Ray.
    """
    asked = parse(cluster, model)
    with _connected(asked.address) as ray, closing(_WorkerPool(ray, asked, model, work)) as pool:
        yield from _in_order(pool, pieces, name)


def _in_order(pool: "_WorkerPool[T, R]", pieces: Iterable[T], name: Callable[[T], str]) -> Iterator[R]:
    source = enumerate(pieces)
    waiting: dict[int, T] = {}
    sent: dict[int, T] = {}
    results: dict[int, R] = {}
    died: Counter[int] = Counter()
    wanted = 0
    while True:
        while True:
            if not waiting:
                waiting.update(islice(source, 1))
            if not waiting or min(waiting) >= wanted + WINDOW * DEPTH * pool.size or not pool.room():
                break
            number = min(waiting)
            sent[number] = waiting.pop(number)
            pool.send(number, sent[number])
        if not waiting and not sent:
            return
        for number, result, loss in pool.wait():
            piece = sent.pop(number)
            if loss is None:
                results[number] = result
                continue
            died[number] += 1
            if died[number] == TRIES:
                raise InnersightError(
                    f"{TRIES} workers died at {name(piece)}, the last one with: {loss}; "
                    "try these images on this machine, without Ray"
                )
            waiting[number] = piece
        while wanted in results:
            yield results.pop(wanted)
            wanted += 1


class _WorkerPool(Generic[T, R]):
    """The workers of one call, and the pieces each was sent. size : how many workers there are meant to be."""

    def __init__(self, ray: Any, asked: Cluster, model: Model, work: "Work[T, R]") -> None:
        self._ray, self._asked = ray, asked
        self.size = _size(ray, asked)
        self._sent = ray.put(_packed(ray, model, work))
        self._kind = ray.remote(_Worker)
        self._workers: list[Any] = []
        self._ready: set[Any] = set()
        # The worker and the number of a piece of every call; None while the worker starts.
        self._pending: dict[Any, tuple[Any, int | None]] = {}
        self._about = _about(model)
        self._failed_starts = 0
        self._without_worker_since = time.monotonic()
        for _ in range(self.size):
            self._start_worker()

    def room(self) -> bool:
        """Return whether a worker can take one more piece."""
        return any(self._load(worker) < DEPTH for worker in self._ready)

    def send(self, number: int, piece: T) -> None:
        """Send a piece to the worker with the fewest."""
        worker = min((one for one in self._workers if one in self._ready), key=self._load)
        self._pending[worker.run.remote(piece)] = worker, number

    def wait(self) -> list[tuple[int, Any, str | None]]:
        """Return (number, result, None) of finished pieces, and (number, None, why) of those whose worker died."""
        done, _ = self._ray.wait(list(self._pending), num_returns=1, timeout=1.0)
        found: list[tuple[int, Any, str | None]] = []
        for ref in done:
            if ref not in self._pending:  # of a worker stopped in this very loop
                continue
            worker, number = self._pending[ref]
            try:
                result = self._get(ref)
            except _LostError as loss:
                found += [(lost, None, str(loss)) for lost in self._stop_worker(worker)]
                # It died while starting: its machine may just have gone, or it would die on any machine.
                self._failed_starts += number is None
                if self._failed_starts == TRIES * self.size:
                    raise InnersightError(
                        f"{self._failed_starts} workers in a row died as they started, the last one with: {loss}"
                    ) from loss
                self._start_worker()
                continue
            del self._pending[ref]
            if number is None:
                machine, about = result
                _check(machine, about, self._about)
                self._ready.add(worker)
                self._failed_starts = 0
            else:
                found.append((number, result, None))
        if self._ready:
            self._without_worker_since = time.monotonic()
        elif time.monotonic() - self._without_worker_since > TIMEOUT:
            raise InnersightError(
                f"no machine of the cluster had {_needs(self._asked)} free for {TIMEOUT:.0f} s. Finished work is "
                f"kept: try again, or ask for less, as in {self._asked.address}?cpus=1"
            )
        return found

    def close(self) -> None:
        """Stop the workers."""
        for worker in list(self._workers):
            self._stop_worker(worker)

    def _start_worker(self) -> None:
        options = {"num_cpus": self._asked.cpus, "num_gpus": self._asked.gpus, "max_restarts": 0}
        worker = self._kind.options(**options).remote()
        self._workers.append(worker)
        self._pending[worker.start.remote(self._sent, self._asked.cpus)] = worker, None

    def _stop_worker(self, worker: Any) -> list[int]:
        """Stop a worker; return the numbers of the pieces it was sent."""
        self._ray.kill(worker)
        self._workers.remove(worker)
        self._ready.discard(worker)
        own = [ref for ref, (at, _) in self._pending.items() if at is worker]
        numbers = [self._pending.pop(ref)[1] for ref in own]
        return [number for number in numbers if number is not None]

    def _load(self, worker: Any) -> int:
        return sum(at is worker for at, _ in self._pending.values())

    def _get(self, ref: Any) -> Any:
        """Return a result; raise what the work raised, or _LostError when the worker or its machine is gone."""
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
    """Runs on another machine: holds the network, and computes pieces one after the other."""

    def start(self, sent: bytes, threads: int) -> tuple[str, dict[str, str]]:
        """Unpack network and work; return the machine's name and what must equal the driver's; see `_about`."""
        import ray

        torch.set_num_threads(threads)
        try:
            model, self._work = pickle.loads(sent)
        except (ImportError, AttributeError) as error:
            raise InnersightError(
                f"the network cannot be built on {socket.gethostname()} ({error}): install its packages there"
            ) from error
        about = _about(model)
        if ray.get_gpu_ids():
            model.net.to("cuda")
        self._model = model
        return socket.gethostname(), about

    def run(self, piece: Any) -> Any:
        """Return the result of a piece."""
        return self._work(self._model, piece)


def _packed(ray: Any, model: Model, work: "Work[Any, Any]") -> bytes:
    """Return network and work as bytes; the network is moved to the CPU, as not every machine has its device."""
    if model.device.type != "cpu":
        model = model.on(copy.deepcopy(model.net).cpu())
    try:
        packed: bytes = ray.cloudpickle.dumps((model, work))
    # What pickle raises for what it cannot write, by kind of object.
    except (TypeError, AttributeError, NotImplementedError, RuntimeError, pickle.PicklingError) as error:
        raise InnersightError(
            f"{model.name} cannot be sent to other machines ({error}); leave out ray=, or give it as a network "
            "that can be pickled"
        ) from error
    return packed


def _size(ray: Any, asked: Cluster) -> int:
    """Return how many workers to start."""
    if asked.workers is not None:
        return asked.workers
    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            fitting = int(node["Resources"].get("CPU", 0) // asked.cpus)
            room += min(fitting, int(node["Resources"].get("GPU", 0) // asked.gpus)) if asked.gpus else fitting
    if not room:
        raise InnersightError(
            f"no machine of the cluster has {_needs(asked)}: ask for less, as in {asked.address}?cpus=1"
        )
    return room


def _needs(asked: Cluster) -> str:
    cpus = f"{asked.cpus} CPU{'s' if asked.cpus > 1 else ''}"
    return f"{cpus} and {asked.gpus:g} GPU{'s' if asked.gpus > 1 else ''}" if asked.gpus else cpus


def _about(model: Model) -> dict[str, str]:
    """Return what results depend on besides the pieces: versions, and a digest of the weights, without names."""
    # Pickle may give a Keras network other names; it must never give any network other weights.
    tensors = [tensor.detach().cpu().float().numpy().tobytes() for tensor in model.net.state_dict().values()]
    weights = hashlib.sha256(b"".join(sorted(hashlib.sha256(one).digest() for one in tensors))).hexdigest()[:16]
    return {"innersight": __version__, "torch": torch.__version__, "a network with the weights": weights}


def _check(machine: str, worker: Mapping[str, str], driver: Mapping[str, str]) -> None:
    for what, value in driver.items():
        if worker.get(what) != value:
            raise InnersightError(
                f"{machine} has {what} {worker.get(what)} and this machine {value}, so results would differ: "
                "install the same version"
            )


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Yield Ray, connected; an existing connection is used and left open."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error
    if ray.is_initialized():
        yield ray
        return
    _check_address(address)
    # Ray started for this call sends no usage statistics.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address=address, log_to_driver=False, logging_level="warning", include_dashboard=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise InnersightError(f"no Ray cluster at {address} ({error})") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    """Raise InnersightError where nothing listens; Ray itself would retry for a minute."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return
    try:
        with socket.create_connection((host, int(port)), CONNECT):
            pass
    except (OSError, ValueError, OverflowError) as error:
        raise InnersightError(
            f"no Ray cluster at {address} ({error}); start one with `ray start --head`, or name another address"
        ) from error
