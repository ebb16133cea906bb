"""What the server answers, as its OpenAPI document describes it."""

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from innersight.storage.annotations import ADDRESS, NAME, NOTE, TAG, TAGS
from innersight.study.panel import any_request
from innersight.web.jobs import Job, State

if TYPE_CHECKING:
    from innersight.study.request import StudyRequest

    AnyRequest = StudyRequest
else:
    AnyRequest = any_request()


class Problem(BaseModel):
    """An error: one sentence on what happened and what to do."""

    detail: str


class Cost(BaseModel):
    """Measured seconds of one layer, unit, class or map: what `per` names."""

    seconds: float
    per: str


class Limits(BaseModel):
    """The largest image that is taken."""

    bytes: int
    pixels: int


class Host(BaseModel):
    """What this host can compute. why : where it cannot, what to do. kinds : of requests."""

    compute: bool
    why: str | None
    kinds: list[str]
    cost: dict[str, Cost]
    limits: Limits


class Progress(BaseModel):
    """How far the study is. documents : changes whenever its pages do. busy : whether some process computes into it."""

    documents: str
    busy: bool


class AnnotationView(BaseModel):
    """Name, tags and note of what an address names, in plain text; all of them empty where it has none."""

    model_config = ConfigDict(extra="forbid")

    address: Annotated[str, Field(min_length=1, max_length=ADDRESS)]
    name: Annotated[str, Field(max_length=NAME)] = ""
    tags: Annotated[list[Annotated[str, Field(max_length=TAG)]], Field(max_length=TAGS)] = []
    note: Annotated[str, Field(max_length=NOTE)] = ""


class JobView(BaseModel):
    """A job.

    share : 0 to 1. what : the item at work. documents : keys written anew so far. error : a sentence. seconds : at
    work so far.
    """

    id: str
    request: AnyRequest
    state: State
    share: float
    what: str
    documents: list[str]
    error: str | None
    seconds: float

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """Return a job as it is answered."""
        return cls(**{**vars(job), "documents": list(job.documents)})


def problems(**reasons: str) -> dict[int | str, dict[str, Any]]:
    """Return the errors of an operation for OpenAPI, by `_STATUS`.

    >>> problems(_404="no such file")[404]["description"]
    'no such file'
    """
    return {int(status[1:]): {"model": Problem, "description": reason} for status, reason in reasons.items()}
