"""What each class looks like to the network: its pattern."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from innersight.storage.key import Key
from innersight.study.panel import Outcome, StudyTask, panels, unless_units
from innersight.study.request import ClassNumber, StudyRequest, check_classes

if TYPE_CHECKING:
    from innersight.storage.store import Item
    from innersight.study.context import StudyContext
    from innersight.study.reader import StudyReader


class ClassesRequest(StudyRequest):
    """What some classes look like to the network: their patterns, drawn with the settings of the study's plan."""

    kind: Literal["classes"]
    classes: Annotated[tuple[ClassNumber, ...], Field(min_length=1, max_length=256)]

    def check(self, study: Mapping[str, Any]) -> None:
        """Raise InnersightError where the network has no such class."""
        check_classes(study, self.classes)

    def tasks(self, context: "StudyContext") -> Iterator[StudyTask]:
        """Yield patterns in batches."""
        from innersight.study.drawing import CHUNK, passes_of

        for start in range(0, len(self.classes), CHUNK):
            classes = self.classes[start : start + CHUNK]
            key = Key("classes", part=f"classes={','.join(map(str, classes))}")
            passes = passes_of(context, len(classes), 2 * context.plan.steps)
            words = f"patterns of the classes {', '.join(context.model.labels[number] for number in classes)}"
            yield StudyTask(key, _settings(context), partial(_drawn, context, classes), passes, words)


def _planned(context: "StudyContext") -> Outcome:
    """Draw the classes that the images are predicted as, the target, and all where they are few."""
    from innersight.predict import predict
    from innersight.study.drawing import CHUNK

    model, plan = context.model, context.plan
    found = predict(model, context.images)
    wanted = [found.top(i, 1)[0]["class"] for i in range(len(context.images))]
    if plan.target is not None:
        wanted.insert(0, model.class_index(plan.target))
    if len(model.labels) <= CHUNK:
        wanted.extend(range(len(model.labels)))
    return _drawn(context, list(dict.fromkeys(wanted)))


def _drawn(context: "StudyContext", classes: Sequence[int]) -> Outcome:
    """Draw classes, with twice the steps of a unit."""
    from innersight.address import ClassAddress
    from innersight.study.drawing import draw, kept, natural

    what = [ClassAddress(str(number)) for number in classes]
    document, tensors = kept(draw(context, what, context.plan.steps * 2))
    likest, more = natural(context, what, context.plan.steps)
    labels = [context.model.labels[one] for one in classes]
    return {"classes": list(classes), "labels": labels, **document, **likest}, {**tensors, **more}


def _settings(context: "StudyContext") -> dict[str, Any]:
    from innersight.study.drawing import settings_of
    from innersight.study.scanned import scan_settings

    return {**settings_of(context), "scan": scan_settings(context.store)}


def _document(reader: "StudyReader", files: Path) -> dict[str, Any]:
    from innersight.study.drawing import joined

    return {"patterns": joined(reader, files, reader.items("classes"))}


def _counted(item: "Item") -> int:
    return len(item.document["classes"])


@panels.register(
    "Class patterns",
    order=140,
    requests=(ClassesRequest,),
    per="class",
    counted=_counted,
    document=_document,
    select=unless_units,
)
def classes(context: "StudyContext") -> Iterator[StudyTask]:
    """Patterns of the predicted classes, of the target, and of all where they are few."""
    from innersight.study.drawing import CHUNK, passes_of

    if context.plan.units:
        settings = {**_settings(context), "target": context.plan.target}
        classes = len(context.model.labels)
        # Which classes are predicted, and how many, is not known yet.
        count = classes if classes <= CHUNK else len(context.images)
        passes = passes_of(context, count, 2 * context.plan.steps)
        yield StudyTask(Key("classes"), settings, partial(_planned, context), passes)
