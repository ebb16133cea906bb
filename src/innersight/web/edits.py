"""The part of the server for what readers try and write: edited images, and names, tags and notes."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException

from innersight.errors import InnersightError
from innersight.storage.annotations import Annotation, check_address, tags_of, write_annotation
from innersight.storage.index import INDEX
from innersight.storage.study_folder import StudyFolder, written_by_innersight
from innersight.study.panels.edit import Edited, EditRequest
from innersight.web.schema import AnnotationView, problems
from innersight.web.workers import BusyError, Worker

_CANNOT = "this host cannot compute"
Document = Callable[[], dict[str, Any]]


def reading(inside: StudyFolder, shown: StudyFolder, worker: Worker, study: Document, able: Document) -> APIRouter:
    """Return the routes. inside, shown : the study, and the folder whose `web` shows it.

    study, able : give the document `study`; `able` only where this host can compute.
    """
    router = APIRouter()

    busy = problems(_404="the study has no such image, layer or unit", _409=_CANNOT, _503="a job is running: ask again")

    @router.post("/edit", responses=busy)
    def edit(wanted: Annotated[EditRequest, Body()]) -> Edited:
        """Return the prediction of an image with units or concepts off and a region hidden; nothing is kept."""
        about = able()
        try:
            with written_by_innersight(shown.path("web", "documents", "study.json")):
                wanted.check(about)
        except InnersightError as error:
            raise HTTPException(404, str(error)) from error
        try:
            return Edited(**worker.edit(wanted))
        except BusyError as error:
            raise HTTPException(503, str(error)) from error

    unwritable = problems(_404="the study has no such unit, concept or image", _409="the study is read-only or damaged")

    @router.put("/annotations", responses=unwritable)
    def annotate(wanted: AnnotationView) -> AnnotationView:
        """Name a unit, a concept or an image, tag it, and write a note; an empty one is removed."""
        about = study()
        if inside.file(INDEX) is None or not inside.writable:
            raise HTTPException(409, "This study cannot be written to: open the study's own folder, or a copy of it.")
        try:
            one = Annotation(wanted.address, wanted.name.strip(), tags_of(wanted.tags), wanted.note.strip())
            with written_by_innersight(shown.path("web", "documents", "study.json")):
                check_address(about, one.address)
        except InnersightError as error:
            raise HTTPException(404, str(error)) from error
        return AnnotationView(**write_annotation(inside, one, about).to_json())

    return router
