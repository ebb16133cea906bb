"""What was asked of a study beyond its plan: computed now, noted in the study, and kept by later runs."""

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
from innersight.storage.permit import EMBEDDED, Permit
from innersight.storage.stamp import fresh
from innersight.storage.store import Item, Store
from innersight.storage.study_folder import written_by_innersight
from innersight.study import asks as kinds
from innersight.study.ask import Ask, Scene, Work
from innersight.study.asks.activations import Activations
from innersight.study.asks.forget import Forget
from innersight.study.asks.image import Image as Added
from innersight.study.documents import document_of, write_documents
from innersight.study.plan import ITEMS, Plan, image_digest
from innersight.study.run import carry_out

ASKED = "asked"
IMAGES = "images"
Tell = Callable[[float, str], None]


def later(
    folder: str | Path, ask: Ask, *, model: Model | None = None, images: Sequence[str] = (), tell: Tell | None = None
) -> Iterator[str]:
    """Compute what is asked for into a study, and yield the key of each document as it is written anew.

    model : the study's; opened as the study did when not given. images : files, folders and names of data sets where
    the images of the study are found. Both are needed for a study that this user did not make on this machine; see
    `innersight.storage.permit`. tell : called with the share done, 0 to 1, and the item at work; what it raises ends
    the work.
    Every finished item is kept. Raises InnersightError where the model or the images of the study cannot be had
    again, for what does not fit them, and while another process is at work.
    """
    store = Store.open(folder)
    permit = Permit(store.inside, named=model is not None, images=tuple(images))
    with store.locked():
        asked = noted(store)
        if isinstance(ask, Forget):
            _forget(store, ask, asked)
            yield "study"
            return
        everything = asked if ask in asked else [*asked, ask]
        if not fresh(store.inside):
            # Someone ended, or added something, before it was shown.
            write_documents(store)
            yield "study"
        scene, lost = reopened(store, permit, model, everything)
        if isinstance(ask, Added) and ask.id in lost:
            raise InnersightError(lost[ask.id])
        done, total, name = 0, 1, ""

        def watch(number: int, count: int, key: str) -> None:
            nonlocal done, total, name
            done, total, name = number, count, key
            within(0.0)

        def within(share: float) -> None:
            if tell:
                tell((done + share) / total, name)

        for key, computed in carry_out(store, ask.items(replace(scene, tell=within)), watch):
            note(store, everything)
            if computed:
                document = document_of(key)
                write_documents(store, [document] if document else [])
                yield document or "study"


def _forget(store: Store, ask: Forget, asked: Sequence[Ask]) -> None:
    note(store, [one for one in asked if not ask.undoes(one)])
    store.drop_others({key for key in store.names() if not ask.holds(key)})
    for one in asked:
        if isinstance(one, Added) and ask.undoes(one):
            store.inside.remove(IMAGES, one.file)
    write_documents(store)


def noted(store: Store) -> list[Ask]:
    """Return what was asked of a study, the first first."""
    item = store.get(ASKED)
    if item is None:
        return []
    with written_by_innersight(f"{store.folder}, item {ASKED!r}"):
        return [kinds.parse(data) for data in item.document["asks"]]


def note(store: Store, asked: Sequence[Ask]) -> None:
    """Keep what was asked of a study."""
    if asked != noted(store):
        store.put(ASKED, {}, {"asks": [ask.model_dump(mode="json") for ask in asked]}, {}, 0.0)


def scene_of(
    model: Model, images: tuple[Image, ...], plan: Plan, store: Store, asked: Sequence[Ask], permit: Permit
) -> tuple[Scene, dict[str, str]]:
    """Return what items are computed from, and by id a sentence for each added image that cannot be read any more."""
    base = {"model": model.digest(), "images": image_digest(images), "version": __version__, "format": ITEMS}
    added: dict[str, Image] = {}
    lost: dict[str, str] = {}
    for ask in asked:
        if isinstance(ask, Added):
            try:
                image = load_image(store.inside.path(IMAGES, ask.file)).checked(model.input)
                added[ask.id] = replace(image, name=ask.name)
            except InnersightError as error:
                lost[ask.id] = str(error)
    layers = dict.fromkeys([*plan.layers, *(ask.layer for ask in asked if isinstance(ask, Activations))])
    return Scene(model, images, plan, store, base, permit, added, tuple(layers)), lost


def items_of(asked: Sequence[Ask], scene: Scene) -> tuple[list[Ask], list[Work], list[str]]:
    """Return those asks that still fit the network and the images, their items, and a sentence for each other one."""
    fitting: list[Ask] = []
    work: list[Work] = []
    forgotten: list[str] = []
    for ask in asked:
        try:
            work += list(ask.items(scene))
        except InnersightError as error:
            forgotten.append(f"{ask.kind}, asked for earlier: {error}")
        else:
            fitting.append(ask)
    return fitting, work, forgotten


def opened(permit: Permit) -> Model:
    """Open the network of a study again. Raises InnersightError where it cannot be had, or may not be opened."""
    claims = permit.network()
    if claims.source == EMBEDDED or not Path(claims.where).is_dir():
        return load(claims.source)
    with contextlib.chdir(claims.where):
        return load(claims.source)


def _item(store: Store, key: str) -> Item:
    card, item = store.get("model"), store.get(key)
    if card is None or item is None or card.document.get("format") != ITEMS:
        raise InnersightError(f"{store.folder}: run the study again first, it is not finished or of another version")
    return item


def reopened(store: Store, permit: Permit, model: Model | None, asked: Sequence[Ask]) -> tuple[Scene, dict[str, str]]:
    """Return what a study was computed from; see `scene_of`. Raises InnersightError where it cannot be had again."""
    card, stored = _item(store, "model"), _item(store, "images")
    if why := permit.refusal():
        raise InnersightError(why)
    model = opened(permit) if model is None else model
    with written_by_innersight(f"{store.folder}, the plan"):
        plan = Plan.from_json(card.document["plan"]).settled(model)
    scene, lost = scene_of(model, _images(stored, model, permit), plan, store, asked, permit)
    claimed = [source["path"] for source in stored.document["sources"]]
    if not store.done("images", {**scene.base, "paths": claimed}):
        raise InnersightError(
            f"{model.name}: the weights, labels or input are not those that {store.folder} was made with; "
            "run the study again"
        )
    return scene, lost


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
