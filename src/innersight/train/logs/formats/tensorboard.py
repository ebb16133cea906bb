"""TensorBoard's event files, whoever wrote them: PyTorch, Lightning, Keras."""

from collections.abc import Mapping
from pathlib import Path

from innersight.errors import InnersightError
from innersight.train.logs.event_files import MAX_FILE, events_of, histogram_of, protocol, scalar_of
from innersight.train.logs.log import TrainingLog, listed, log_formats, step_of

MAX_TAGS = 5000
_EPOCH = "epoch_"
# Keras names its two folders so; it also writes the same values of the validation once more, by iterations.
_RUNS = {"train": "train", "validation": "val", "val": "val", "valid": "val", "test": "test", "eval": "val"}


def _fits(name: str, head: bytes) -> bool:
    return ".tfevents." in name.rpartition("/")[2]


@log_formats.register(
    "TensorBoard event files",
    source="https://www.tensorflow.org/tensorboard",
    use="events.out.tfevents.*, all in a folder and those inside it",
    fits=_fits,
    order=10,
    several=True,
)
def tensorboard(files: Mapping[str, Path]) -> TrainingLog:
    """Scalars and histograms; images, graphs and text are passed over. Folders are runs of one training."""
    protocol()
    total = sum(path.stat().st_size for path in files.values())
    if total > MAX_FILE:
        raise InnersightError(
            f"event files of {total:,} bytes; the limit is {MAX_FILE:,}: name the folder of one run, or one file"
        )
    log = TrainingLog()
    places = {name: name.rpartition("/")[0] for name in files}
    shared = len(set(places.values())) == 1
    for name, path in sorted(files.items(), key=lambda one: (places[one[0]], _written(one[0]))):
        run = "" if shared else _run(places[name])
        own = _run(places[name])
        for event in events_of(path, log.notes, name):
            step = step_of(event.step)
            if step is None:
                continue
            for value in event.summary.value:
                tag = str(value.tag)
                if tag == "epoch":
                    continue
                number = scalar_of(value)
                if number is not None:
                    by_epoch = tag.startswith(_EPOCH)
                    tag = tag.removeprefix(_EPOCH)
                    # Keras says in which folder what the curve is of.
                    where = own if by_epoch and own in _RUNS.values() and not _rate(tag) else run
                    key = f"{where}/{tag}" if where and not (by_epoch and _rate(tag)) else tag
                    if by_epoch:
                        log.epochs.add(key)
                    log.series(key).add(step, number)
                elif (drawn := histogram_of(value, step)) is not None:
                    several = log.histograms.setdefault(tag, [])
                    while several and several[-1].step >= step:
                        several.pop()
                    several.append(drawn)
            if len(log.scalars) + len(log.histograms) > MAX_TAGS:
                raise InnersightError(
                    f"{name}: more than {MAX_TAGS:,} curves and histograms: name the folder of one run, or one file"
                )
    if apart := sorted({_run(place) for place in places.values()} - set(_RUNS.values())) if not shared else []:
        log.notes.append(f"Folders are shown as parts of one training, and named in its curves: {listed(apart)}.")
    if log.scalars and log.epochs >= log.scalars.keys():
        log.axis = "epoch"
    return log


def _rate(tag: str) -> bool:
    return tag in ("lr", "learning_rate")


def _run(folder: str) -> str:
    last = folder.rpartition("/")[2]
    return _RUNS.get(last, folder)


def _written(name: str) -> str:
    """Return the part of a file's name that begins with the time it was opened."""
    return name.rpartition("/")[2].partition(".tfevents.")[2]
