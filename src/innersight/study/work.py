"""`study`: do everything for a model and some images, item by item, skipping what is done."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from innersight.call import public
from innersight.errors import InnersightError
from innersight.image import Image, ImageError
from innersight.input_warnings import image_warnings
from innersight.inputs import Given, ImageReader, given
from innersight.layers import survey
from innersight.model import Model
from innersight.storage.permit import Claims, Permit, own_identity, remember
from innersight.storage.store import Store
from innersight.storage.writing import naming, quiet_writers
from innersight.study import items
from innersight.study.ask import Scene, Work
from innersight.study.causes import LAYERS, ablation
from innersight.study.content import content_of
from innersight.study.documents import rendered, write_documents
from innersight.study.exports import exports
from innersight.study.later import ASKED, items_of, note, noted, scene_of
from innersight.study.plan import Plan
from innersight.study.run import Watch, carry_out
from innersight.study.scanned import scan_settings
from innersight.study.trusted import sources, trusted

FIRST_IMAGES = 8


@dataclass(frozen=True)
class Study:
    """A study on disk.

    computed, reused : items of the last run. skipped : one sentence per unreadable file. notes : how the images and
    their labels were understood, and what else a reader must know. warnings : what of the input contract seems wrong,
    see `innersight.input_warnings`.
    """

    folder: Path
    computed: int = 0
    reused: int = 0
    skipped: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())

    @classmethod
    def open(cls, folder: str | Path) -> "Study":
        """Open a study made before; needs neither the model nor the images."""
        return cls(Store.open(folder).folder)

    def render(self) -> Path:
        """Write the documents and sheets of the front end from the stored values; return their folder."""
        return write_documents(Store.open(self.folder))

    @public()
    def report(self, out: str | Path, *, units: Sequence[str] = (), images: Sequence[str] = ()) -> Path:
        """Write one self-contained HTML file and return its path.

        units, images : addresses, and ids or names, of what is shown; everything when neither is given. Raises
        InnersightError for those the study does not have.
        """
        from innersight.web.report import write_report

        with rendered(Store.open(self.folder)) as shown:
            return write_report(shown, Path(out), units=units, images=images)

    def view(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8765,
        model: Model | None = None,
        images: Sequence[str | Path] = (),
    ) -> None:
        """Serve the study until interrupted; where others can reach `host`, they need the token in the address printed.

        model : what computes more, needed where the study's network was given in Python. images : files and folders
        where the study's images are found. Both are needed for a study that this user did not make on this machine.
        """
        from innersight.web.app import serve

        with rendered(Store.open(self.folder)) as shown:
            named = tuple(map(str, images))
            serve(self.folder, shown=shown, host=host, port=port, open_browser=True, model=model, images=named)

    def export(self, to: str, out: str | Path) -> Path:
        """Write the study for another tool, a name in `innersight.study.exports.exports`, into the folder `out`.

        Raises InnersightError for an unknown name, MissingExtraError without the tool's library, WriteError where it
        cannot be written.
        """
        make, content = exports[to], content_of(Store.open(self.folder))
        with naming(Path(out)), quiet_writers():
            make(content, Path(out))
        return Path(out)

    def to_tensorboard(self, logdir: str | Path) -> Path:
        """Write contact sheets, curves, histograms and the projector for `tensorboard --logdir LOGDIR`."""
        return self.export("tensorboard", logdir)

    def to_wandb(self, out: str | Path) -> Path:
        """Write a Weights & Biases run into a folder, offline unless WANDB_MODE says otherwise."""
        return self.export("wandb", out)

    def to_trackio(self, out: str | Path) -> Path:
        """Write a Trackio run into a folder."""
        return self.export("trackio", out)

    def _repr_html_(self) -> str:
        from innersight.web.report import embed

        with rendered(Store.open(self.folder)) as shown:
            return embed(shown)


@public()
def study(
    model: Model,
    images: Any,
    out: str | Path = "study",
    *,
    plan: Plan | None = None,
    watch: Watch | None = None,
) -> Study:
    """Compute predictions, maps, comparison, patterns and heatmaps into the folder `out`.

    images : whatever holds images, see `innersight.inputs.entries`; of a folder, tar file or data set
    the first 8. plan : what to compute.
    watch : called with (items done, items in all, name of the next one).

    Every finished item is kept: after a kill or Ctrl-C the same call goes on where it stopped, and items whose model,
    images or settings changed are made again. Unreadable files are skipped and listed. Raises ImageError when none
    can be read, and InnersightError for a plan that does not fit the model, a full disk, or while another process works
    on this study.
    """
    loaded, skipped, notes = _load(images, model)
    settled = (plan or Plan()).settled(model)
    store = Store.create(out)
    with store.locked():
        own_identity(store.inside)
        asked = noted(store)
        permit = Permit(store.inside, named=True, images=_named(images))
        scene, lost = scene_of(model, loaded, settled, store, asked, permit)
        claims = Claims(model.source, str(Path.cwd()), tuple(items.paths_of(loaded)))
        unmarked = remember(store.inside, study=claims.digest())
        fitting, further, forgotten = items_of(asked, scene)
        skipped += [*lost.values(), *forgotten]
        # What was asked for later comes last, and once: the plan may have grown to hold it.
        work: dict[str, Work] = {item[0]: item for item in _items(scene, skipped)}
        planned = set(work)
        for item in further:
            work.setdefault(item[0], item)

        def failed(key: str, error: InnersightError) -> None:
            if key in planned:
                raise error
            skipped.append(f"{key}, asked for earlier: {error}")

        made = dict(carry_out(store, work.values(), watch, failed))
        fitting = [ask for ask in fitting if all(key in made for key, *_ in ask.items(scene))]
        note(store, fitting)
        store.drop_others({*made, ASKED} if fitting else set(made))
    computed = sum(made.values())
    notes = (*notes, unmarked) if unmarked else notes
    warnings = image_warnings(model, loaded)
    return Study(store.folder, computed, len(made) - computed, tuple(skipped), notes, warnings)


def _load(images: Any, model: Model) -> tuple[tuple[Image, ...], list[str], tuple[str, ...]]:
    """Return the first 8 images of every folder, tar file and data set, all others, and what was skipped and noted."""
    own = given(images)
    loaded: list[Image] = []
    errors: list[ImageError] = []
    notes: list[str] = []
    for several in _parts(own):
        reading = ImageReader(several, model.input, model.labels, required=False)
        most = None if isinstance(several, list) else FIRST_IMAGES
        with closing(reading.images()) as read:
            loaded += islice(read, most)
        errors += reading.errors
        notes += reading.notes
    if not loaded:
        raise errors[0] if errors else ImageError("no images given")
    return _distinct(loaded), list(map(str, errors)), tuple(dict.fromkeys(notes))


def _parts(own: Given) -> Iterator[Any]:
    """Yield one by one what is read in part: a data set, and each path; other things as lists."""
    if own.things is None:
        yield own
        return
    for named, several in groupby(own.things, lambda thing: isinstance(thing, str | Path)):
        things = list(several)
        yield from things if named else [things]


def _named(images: object) -> tuple[str, ...]:
    """Return the files and folders among what was given."""
    given = [images] if isinstance(images, str | Path) else images
    return tuple(str(one) for one in given if isinstance(one, str | Path)) if isinstance(given, list | tuple) else ()


def _distinct(images: list[Image]) -> tuple[Image, ...]:
    """Give images of the same file name the name of their folder too."""
    names = Counter(image.name for image in images)
    return tuple(
        replace(image, name=f"{image.path.resolve().parent.name}/{image.name}")
        if names[image.name] > 1 and image.path
        else image
        for image in images
    )


def _items(scene: Scene, skipped: list[str]) -> Iterator[Work]:
    """Yield everything the plan asks for, cheap and important things first."""
    model, images, plan, store, base = scene.model, scene.images, scene.plan, scene.store, scene.base
    first = items.first_conv(model)
    grids = {layer.name: layer for layer in survey(model)}
    warnings = image_warnings(model, images)
    card = {**base, "plan": plan.to_json(), "skipped": skipped, "source": model.source, "where": str(Path.cwd())}
    card |= {"notes": [*model.notes, *warnings], "guessed": model.input.guessed}
    yield "model", card, partial(items.card, model, plan, skipped, warnings)
    yield "images", {**base, "paths": items.paths_of(images)}, partial(items.images_of, model, images)
    for layer in plan.layers:
        yield f"activations/{layer}", base, partial(items.maps_of, model, images, layer)
    for layer in plan.layers if len(images) > 1 else ():
        if grids[layer].grid != (1, 1):
            yield f"compare/{layer}", base, partial(items.compared, model, images, layer)
    yield "fields", {**base, "layers": list(plan.layers)}, partial(items.fields_of, model, plan.layers)
    if first is not None:
        yield "kernels", base, partial(items.kernels_of, model, first)
    heat = {**base, "methods": list(plan.methods), "target": plan.target, "rivals": plan.rivals}
    yield "heatmaps", heat, partial(items.planned_heatmaps, model, images, plan)
    for layer in [name for name in plan.layers if grids[name].grid != (1, 1)][-LAYERS:]:
        yield f"ablation/{layer}", base, partial(ablation, model, images, layer)
    if model.run is not None and (model.run / "telemetry.json").is_file():
        yield "train", base, partial(items.trained, model.run)
    drawn = items.drawn(scene)
    for layer in plan.layers:
        count = min(plan.units, grids[layer].units)
        for start in range(0, count, items.CHUNK):
            span = range(start, min(start + items.CHUNK, count))
            settings = {**drawn, "count": len(span)}
            yield f"patterns/{layer}/{start}", settings, partial(items.ranked_patterns, scene, layer, span)
        if count:
            settings = {**base, "count": count}
            yield f"connections/{layer}/0", settings, partial(items.ranked_connections, scene, layer, count)
    scanned = scan_settings(store)
    known = scanned["layers"] if scanned and scanned["model"] == base["model"] else ()
    for layer in plan.layers if plan.units else ():
        if layer in known:
            settings = {**base, "scan": scanned, "count": plan.units}
            yield f"examples/{layer}", settings, partial(items.examples_of, scene, layer, plan.units)
    for layer in plan.layers if plan.units and plan.negatives else ():
        count = min(plan.negatives, plan.units)
        yield f"negatives/{layer}/0", {**drawn, "count": count}, partial(items.ranked_negatives, scene, layer, count)
    if plan.units:
        yield "classes", {**drawn, "target": plan.target}, partial(items.planned_classes, scene)
    tested = sources(scene, plan.trust, plan.seed) if plan.trust else ()
    if tested:
        settings = {**base, "scan": scanned, "methods": list(plan.methods), "most": plan.trust, "seed": plan.seed}
        yield "trust", settings, partial(trusted, model, tested, plan.methods, plan.trust, plan.seed)
