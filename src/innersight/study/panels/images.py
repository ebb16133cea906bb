"""The images: what they are, what is predicted, what the network sees; and images that are added later."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, StringConstraints

from innersight.errors import InnersightError
from innersight.storage.key import Key
from innersight.study.panel import Outcome, StudyTask, panels
from innersight.study.panels.activations import maps_task
from innersight.study.panels.concepts import image_tasks
from innersight.study.panels.heatmaps import HeatmapsRequest
from innersight.study.panels.novelty import novelty_task
from innersight.study.request import Name, StudyRequest, check_image

if TYPE_CHECKING:
    from innersight.image import Image
    from innersight.model import Model
    from innersight.predict import Prediction
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader

File = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}\.[a-z]{3,4}$")]


class ImageRequest(StudyRequest):
    """An image to be added, a file in the study's folder `images`: its prediction, its maps, its heatmaps.

    label : the name of its class, where it is known. scanned : its number in the study's scan.
    """

    kind: Literal["image"]
    file: File
    name: Name
    label: Name | None = None
    scanned: Annotated[int, Field(ge=0)] | None = None

    @property
    def id(self) -> str:
        """The image's id in documents and addresses."""
        return f"d{self.file[:8]}"

    @property
    def key(self) -> Key:
        """The key of the image's own item."""
        return Key("images", image=self.id)

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield the prediction, the maps of all layers of the study, concepts, and heatmaps by the plan's methods."""
        settings = context.settings(self.id)
        if self.scanned is not None:
            settings |= {"label": self.label, "scanned": self.scanned}
        yield StudyTask(self.key, settings, partial(_one, context.model, context.image(self.id), self))
        for layer in context.layers:
            yield maps_task(context, layer, self.id)
        for address in context.sets:
            yield from image_tasks(context, address, self.id)
        yield from novelty_task(context, self.id)
        yield from HeatmapsRequest(kind="heatmaps", image=self.id, methods=context.plan.methods).tasks(context)


class ForgetRequest(StudyRequest):
    """An image that was added later leaves the study, with everything computed for it alone."""

    kind: Literal["forget"]
    image: Name

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the study has no such image, or was made of it."""
        check_image(study, self.image)
        if not self.image.startswith("d"):
            raise InnersightError(
                f"{self.image} cannot be removed: the study was made from it. Only images added later can be removed"
            )

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield nothing: see `innersight.study.compute`."""
        yield from ()

    def removes(self, request: StudyRequest) -> bool:
        """Return whether a request is about this image alone."""
        if isinstance(request, ImageRequest):
            return request.id == self.image
        return getattr(request, "image", None) == self.image

    def removes_item(self, key: Key) -> bool:
        """Return whether an item is about this image alone."""
        return key.image == self.image


def paths_of(images: "Sequence[Image]") -> list[str | None]:
    """Return where to read the images again; None for those that have no file."""
    return [str(image.path.resolve()) if image.path else None for image in images]


def _images(model: "Model", images: "tuple[Image, ...]") -> Outcome:
    """Return the images: what they are, what is predicted, what the network sees, and where to read them again."""
    import numpy as np
    import torch

    from innersight.activations import seen_array
    from innersight.predict import predict
    from innersight.render.sheets import small

    found = predict(model, images)
    rows = [_row(model, image, f"p{i}", found, i) for i, image in enumerate(images)]
    tensors = {"seen": torch.from_numpy(np.stack([seen_array(image, model) for image in images]))}
    for i, image in enumerate(images):
        tensors[f"original/{i}"] = torch.from_numpy(small(image.display(model.input)))
        if image.network is not None:
            tensors[f"input/{i}"] = image.network.values.clone()
        elif image.path is None:
            tensors[f"source/{i}"] = torch.from_numpy(np.array(image.pil if image.bands is None else image.bands))
    sources = [
        {"path": path, "digest": image.digest(), "label": image.label, "folder": image.folder}
        for path, image in zip(paths_of(images), images, strict=True)
    ]
    return {"images": rows, "sources": sources}, tensors


def _one(model: "Model", image: "Image", request: ImageRequest) -> Outcome:
    """Return an image added later."""
    import numpy as np
    import torch

    from innersight.activations import seen_array
    from innersight.predict import predict
    from innersight.render.sheets import small

    row = {**_row(model, image, request.id, predict(model, [image]), 0), "scanned": request.scanned}
    original = torch.from_numpy(small(image.display(model.input)))
    return {"image": row}, {"seen": torch.from_numpy(np.array(seen_array(image, model))), "original": original}


def _row(model: "Model", image: "Image", name: str, found: "Prediction", at: int) -> dict[str, Any]:
    box = image.box(model.input)
    truth = found.ground_truth[at]
    return {
        "id": name,
        "name": image.name,
        "width": image.width,
        "height": image.height,
        "box": [box.left, box.top, box.right, box.bottom],
        "notes": list(image.notes),
        "truth": model.labels[truth] if truth >= 0 else None,
        "prediction": found.top(at),
    }


def _study(reader: "StudyReader", files: Path) -> dict[str, Any]:
    import torch

    from innersight.render.sheets import colour_sheet, image_file

    item = reader.items("images")[0]
    tensors = item.tensors()
    rows = [
        {**row, "original": image_file(files, tensors[f"original/{i}"].numpy())}
        for i, row in enumerate(item.document["images"])
    ]
    seen = [tensors["seen"]]
    for added in reader.added("images").values():
        own = added.tensors()
        rows.append({**added.document["image"], "original": image_file(files, own["original"].numpy())})
        seen.append(own["seen"][None])
    return {"images": rows, "seen": colour_sheet(files, torch.cat(seen).numpy())}


@panels.register("Images", order=20, requests=(ImageRequest, ForgetRequest), study=_study)
def images(context: "StudyContext") -> Iterator[StudyTask]:
    """The images that the study is made of, with their predictions."""
    settings = {**context.base, "paths": paths_of(context.images)}
    yield StudyTask(Key("images"), settings, partial(_images, context.model, context.images))
