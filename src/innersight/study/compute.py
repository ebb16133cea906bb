"""Requests: computed now, kept in the study, and kept by later runs of it."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as PILImage

from innersight import __version__
from innersight.errors import InnersightError, printable
from innersight.image import Image, NetworkInput, as_image, load_image
from innersight.model import Model
from innersight.sources import load
from innersight.storage.key import Key
from innersight.storage.permit import EMBEDDED, Permit
from innersight.storage.stamp import fresh
from innersight.storage.store import Item, Store
from innersight.storage.study_folder import written_by_innersight
from innersight.study.concept_sets import sets_of
from innersight.study.context import StudyContext
from innersight.study.documents import write_documents
from innersight.study.panel import StudyTask, document_of, parse_request
from innersight.study.panels.activations import ActivationsRequest
from innersight.study.panels.images import ForgetRequest, ImageRequest
from innersight.study.plan import FORMAT, Plan, image_digest
from innersight.study.request import StudyRequest
from innersight.study.run import TaskProgress, carry_out

REQUESTED = "requested"
IMAGES = "images"


def compute(
    folder: str | Path,
    request: StudyRequest,
    *,
    model: Model | None = None,
    images: Sequence[str] = (),
    progress: Callable[[float, str], None] | None = None,
) -> Iterator[str]:
    """Compute what is requested into a study, and yield the key of each document as it is written anew.

    model : the study's; opened as the study did when not given. images : files, folders and names of data sets where
    the images of the study are found. Both are needed for a study that this user did not make on this machine; see
    `innersight.storage.permit`. progress : called with the share done, 0 to 1, and the item at work in words; what it
    raises ends the work.
    Every finished item is kept. Raises InnersightError where the model or the images of the study cannot be had
    again, for what does not fit them, and while another process is at work.
    """
    store = Store.open(folder)
    permit = Permit(store.inside, named=model is not None, images=tuple(images))
    with store.locked():
        before = requested(store)
        if isinstance(request, ForgetRequest):
            _forget(store, request, before)
            yield "study"
            return
        everything = before if request in before else [*before, request]
        if not fresh(store.inside):
            # Someone ended, or added something, before it was shown.
            write_documents(store)
            yield "study"
        context, lost = reopened(store, permit, model, everything)
        if isinstance(request, ImageRequest) and request.id in lost:
            raise InnersightError(lost[request.id])

        def report(done: int, total: int, words: str) -> None:
            if progress:
                progress(done / total, words)

        work = TaskProgress(report)
        for key, computed in carry_out(store, request.tasks(replace(context, progress=work.within)), work):
            keep_requests(store, everything)
            if computed:
                document = document_of(key)
                write_documents(store, [document] if document else [])
                yield document or "study"


def _forget(store: Store, request: ForgetRequest, before: Sequence[StudyRequest]) -> None:
    keep_requests(store, [one for one in before if not request.removes(one)])
    store.drop_others({text for text in store.names() if not request.removes_item(Key.parse(text))})
    for one in before:
        if isinstance(one, ImageRequest) and request.removes(one):
            store.inside.remove(IMAGES, one.file)
    write_documents(store)


def requested(store: Store) -> list[StudyRequest]:
    """Return what was requested of a study, the first first."""
    item = store.get(REQUESTED)
    if item is None:
        return []
    with written_by_innersight(f"{store.folder}, item {REQUESTED!r}"):
        return [parse_request(data) for data in item.document["requests"]]


def keep_requests(store: Store, requests: Sequence[StudyRequest]) -> None:
    """Keep what was requested of a study."""
    if requests != requested(store):
        document = {"requests": [request.model_dump(mode="json") for request in requests]}
        store.put(REQUESTED, {}, document, {}, 0.0)


def context_of(
    model: Model,
    images: tuple[Image, ...],
    plan: Plan,
    store: Store,
    requests: Sequence[StudyRequest],
    permit: Permit,
    *,
    planned: bool = False,
) -> tuple[StudyContext, dict[str, str]]:
    """Return what items are computed from, and by id a sentence for each added image that cannot be read any more.

    planned : whether what the plan asks for is about to be computed, so that its concepts count as there.
    """
    base = {
        "model": model.digest(concepts=False),
        "images": image_digest(images),
        "version": __version__,
        "format": FORMAT,
        **({"concepts": model.digest()} if model.inserted else {}),
    }
    added: dict[str, Image] = {}
    lost: dict[str, str] = {}
    for request in requests:
        if isinstance(request, ImageRequest):
            try:
                image = load_image(store.inside.path(IMAGES, request.file)).checked(model.input)
                added[request.id] = replace(image, name=request.name, label=request.label)
            except InnersightError as error:
                lost[request.id] = str(error)
    of_maps = (request.layer for request in requests if isinstance(request, ActivationsRequest))
    layers = tuple(dict.fromkeys([*plan.layers, *of_maps]))
    context = StudyContext(model, images, plan, store, base, permit, added, layers)
    sets = sets_of(context, planned=planned)
    return replace(context, sets=sets), lost


def tasks_of(
    requests: Sequence[StudyRequest], context: StudyContext
) -> tuple[list[StudyRequest], list[StudyTask], list[str]]:
    """Return the requests that still fit the network and the images, their tasks, and a sentence for each other one."""
    fitting: list[StudyRequest] = []
    tasks: list[StudyTask] = []
    forgotten: list[str] = []
    for request in requests:
        try:
            tasks += list(request.tasks(context))
        except InnersightError as error:
            forgotten.append(f"{request.kind}, requested earlier: {error}")
        else:
            fitting.append(request)
    return fitting, tasks, forgotten


def opened(permit: Permit) -> Model:
    """Open the network of a study again. Raises InnersightError where it cannot be had, or may not be opened."""
    claims = permit.network()
    if claims.source in EMBEDDED or not Path(claims.where).is_dir():
        return load(claims.source)
    with contextlib.chdir(claims.where):
        return load(claims.source)


def _item(store: Store, key: str) -> Item:
    card, item = store.get("model"), store.get(key)
    if card is None or item is None or card.document.get("format") != FORMAT:
        raise InnersightError(f"{store.folder}: run the study again first, it is not finished or of another version")
    return item


def reopened(
    store: Store, permit: Permit, model: Model | None, requests: Sequence[StudyRequest]
) -> tuple[StudyContext, dict[str, str]]:
    """Return what a study was computed from; see `context_of`. Raises InnersightError where it cannot be had again."""
    card, stored = _item(store, "model"), _item(store, "images")
    if why := permit.refusal():
        raise InnersightError(why)
    model = opened(permit) if model is None else model
    with written_by_innersight(f"{store.folder}, the plan"):
        plan = Plan.from_json(card.document["plan"]).settled(model)
    context, lost = context_of(model, _images(stored, model, permit), plan, store, requests, permit)
    claimed = [source["path"] for source in stored.document["sources"]]
    if not store.done("images", {**context.base, "paths": claimed}):
        raise InnersightError(
            f"{model.name}: the weights, labels or input are not those that {store.folder} was made with; "
            "run the study again"
        )
    return context, lost


def _images(stored: Item, model: Model, permit: Permit) -> tuple[Image, ...]:
    found = []
    tensors = stored.tensors()
    with written_by_innersight(f"{permit.inside.folder}, item 'images'"):
        rows = [
            (
                i,
                str(row["name"]),
                source["path"],
                source["digest"],
                _label(source),
                source.get("folder") is True,
            )
            for i, (row, source) in enumerate(zip(stored.document["images"], stored.document["sources"], strict=True))
        ]
        inputs = {i: tensors[f"input/{i}"].float() for i, *_ in rows if f"input/{i}" in tensors}
        given = {
            i: _plain(tensors[f"source/{i}"].numpy()) for i, _, path, *_ in rows if path is None and i not in inputs
        }
    for i, name, path, digest, label, folder in rows:
        if i in inputs:
            image = NetworkInput(inputs[i], model.input).image(name)
        else:
            image = as_image(given[i], name=name) if path is None else load_image(permit.image(path))
        image = replace(image, name=name, label=label, folder=folder).checked(model.input)
        if image.digest() != digest:
            raise InnersightError(f"{printable(path or name)}: the image has changed; run the study again")
        found.append(image)
    return tuple(found)


def _plain(pixels: np.ndarray) -> "PILImage.Image | np.ndarray":
    return PILImage.fromarray(pixels) if pixels.dtype == "uint8" else pixels


def _label(source: Mapping[str, object]) -> str | int | None:
    label = source.get("label")
    if label is not None and not isinstance(label, str | int):
        raise TypeError("a label is a text or a number")
    return label
