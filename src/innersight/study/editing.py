"""Edits of a study's images: what they are computed from is opened once, and again after the study has changed."""

from collections.abc import Sequence
from pathlib import Path

from innersight.model import Model
from innersight.storage.permit import Permit
from innersight.storage.stamp import stamp
from innersight.storage.store import Store
from innersight.study.compute import reopened, requested
from innersight.study.panels.edit import Edited, EditRequest, EditSession


class StudyEdits:
    """Edits of the images of the study in a folder. model : the study's. images : where its images are found."""

    def __init__(self, folder: Path, model: Model | None, images: Sequence[str] = ()) -> None:
        self._folder, self._model, self._images = folder, model, tuple(images)
        self._state = ""
        self._session: EditSession | None = None

    def edited(self, request: EditRequest) -> Edited:
        """Return the prediction of an edited image; nothing is kept in the study.

        Raises InnersightError where network or images cannot be had again, and for what the study does not have.
        """
        store = Store.open(self._folder)
        state = stamp(store.inside)
        if self._session is None or state != self._state:
            permit = Permit(store.inside, named=self._model is not None, images=self._images)
            context, _ = reopened(store, permit, self._model, requested(store))
            self._session, self._state = EditSession(context), state
        return self._session.edited(request)
