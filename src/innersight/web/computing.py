"""The part of the server that computes: jobs and the images that readers drop onto the page."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query, Request
from fastapi import Path as Number
from fastapi.responses import HTMLResponse, StreamingResponse

import innersight
from innersight.errors import InnersightError, WriteError
from innersight.storage.index import INDEX, at_work
from innersight.storage.permit import Permit, claims_of
from innersight.storage.stamp import holds
from innersight.storage.study_folder import GoneError, StudyFolder, parsed, written_by_innersight
from innersight.study.panel import requests
from innersight.study.panels.images import ImageRequest
from innersight.study.request import StudyRequest
from innersight.web import uploads
from innersight.web.edits import reading
from innersight.web.jobs import OVER, BusyError, Job, Jobs
from innersight.web.report import report_page
from innersight.web.scanned import scanned_image
from innersight.web.schema import AnyRequest, Cost, Host, JobView, Limits, Progress, problems

BEAT = 1.0  # seconds; a page that went away is noticed when something is sent
_CANNOT = "this host cannot compute, or too many jobs wait"


def computing(permit: Permit, shown: StudyFolder, jobs: Jobs) -> APIRouter:
    """Return the routes over a study. permit : what it may open. shown : the folder whose `web` shows it."""
    router = APIRouter(prefix="/api")
    inside = permit.inside

    def study() -> dict[str, Any]:
        return parsed(shown.read("web", "documents", "study.json"), shown.path("web", "documents", "study.json"))

    def why_not() -> str | None:
        if not inside.folder.is_dir():
            raise GoneError(f"{inside.folder} has been removed")
        if inside.file(INDEX) is None:
            return "This folder contains only the pages of a study, so nothing can be computed from it."
        if not inside.writable:
            return f"{inside.folder} is read-only: copy the study to a folder of your own to compute more."
        if not permit.named and (why := reason(claims_of(inside).source)):
            return why
        # Found out anew each time: the study may be made again meanwhile.
        return replace(permit).refusal()

    def able() -> dict[str, Any]:
        why = why_not()
        if why:
            raise HTTPException(409, why)
        return study()

    def added(request: StudyRequest) -> Job:
        try:
            return jobs.add(request)
        except BusyError as error:
            raise HTTPException(409, str(error)) from error

    def known(job: Job | None) -> Job:
        if job is None:
            raise HTTPException(404, "no such job; only the last 200 are kept")
        return job

    def tidy(job: Job) -> None:
        """Remove an image that came to nothing."""
        if isinstance(job.request, ImageRequest) and job.state in ("failed", "cancelled"):
            # With the study the image is gone too.
            with contextlib.suppress(GoneError):
                forget(job.request, job.id)

    def forget(image: ImageRequest, own: str = "") -> None:
        """Remove the file of an image that the study does not hold and no other job needs."""
        wanted = any(job.request == image and job.state not in OVER and job.id != own for job in jobs.all())
        if not wanted and not holds(inside, str(image.key)):
            inside.remove(uploads.FOLDER, image.file)

    jobs.ended = tidy

    @router.get("/host")
    def host() -> Host:
        """Return what this host can compute, and the times measured."""
        about, why = study(), why_not()
        with written_by_innersight(shown.path("web", "documents", "study.json")):
            cost = {kind: Cost(**measured) for kind, measured in about.get("cost", {}).items()}
        limits = Limits(bytes=uploads.MAX_BYTES, pixels=uploads.MAX_PIXELS)
        return Host(compute=why is None, why=why, kinds=list(requests()), cost=cost, limits=limits)

    @router.get("/progress")
    def progress() -> Progress:
        """Return whether the study is being computed, and what changes whenever its pages do."""
        path = shown.path("web", "documents", "study.json")
        return Progress(documents=str(path.stat().st_mtime_ns if path.is_file() else 0), busy=at_work(inside))

    @router.get("/jobs")
    def listed() -> list[JobView]:
        """Return the last 200 jobs, the newest last."""
        return [JobView.of(job) for job in jobs.all()]

    unknown = problems(_404="the study has no such layer, unit, image or class", _409=_CANNOT)

    @router.post("/jobs", status_code=202, responses=unknown)
    def ask_for(wanted: Annotated[AnyRequest, Body()]) -> JobView:
        """Ask for something to be computed. What is being computed already is not computed twice."""
        about = able()
        try:
            if isinstance(wanted, ImageRequest) and inside.file(uploads.FOLDER, wanted.file) is None:
                raise InnersightError(f"no image {wanted.file} was sent; send it to /api/images")
            with written_by_innersight(shown.path("web", "documents", "study.json")):
                wanted.check(about)
        except InnersightError as error:
            raise HTTPException(404, str(error)) from error
        return JobView.of(added(wanted))

    router.include_router(reading(inside, shown, jobs.worker, study, able))

    @router.get("/jobs/{key}", responses=problems(_404="no such job"))
    def one(key: str) -> JobView:
        """Return a job as it is now."""
        return JobView.of(known(jobs.get(key)))

    @router.delete("/jobs/{key}", responses=problems(_404="no such job"))
    def cancel(key: str) -> JobView:
        """Cancel a job; what it has finished is kept. One that is over stays as it is."""
        return JobView.of(known(jobs.cancel(key)))

    @router.get(
        "/jobs/{key}/events",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {}}, "description": "an event `job` (a job) with every change"},
            **problems(_404="no such job"),
        },
    )
    def events(key: str) -> StreamingResponse:
        """Follow a job to its end."""
        known(jobs.get(key))

        def lines() -> Iterator[str]:
            for job in jobs.watch(key, BEAT):
                yield f"event: job\ndata: {JobView.of(job).model_dump_json()}\n\n" if job else ":\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    @router.post(
        "/report",
        response_class=HTMLResponse,
        responses=problems(_404="the study has no such unit or image"),
    )
    def report(
        units: Annotated[list[str], Query(max_length=500)] = [],  # noqa: B006
        imgs: Annotated[list[str], Query(max_length=500)] = [],  # noqa: B006
    ) -> HTMLResponse:
        """Return a report of some units over some images as one HTML file; of everything when none are named."""
        try:
            page = report_page(shown.folder, units, imgs)
        except InnersightError as error:
            raise HTTPException(404, str(error)) from error
        return HTMLResponse(page, headers={"Content-Disposition": 'attachment; filename="innersight.html"'})

    @router.post("/scanned/{number}", status_code=202, responses=unknown)
    def scanned(number: Annotated[int, Number(ge=0, le=2**53)]) -> JobView:
        """Add an image of the study's scan to the study, as if it was sent, with the class that the scan knows."""
        able()
        try:
            wanted = scanned_image(permit, number)
        except (GoneError, WriteError):
            raise
        except InnersightError as error:
            raise HTTPException(404, str(error)) from error
        try:
            return JobView.of(added(wanted))
        except HTTPException:
            forget(wanted)
            raise

    body = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": _BYTES}}}}
    too_large = problems(_409=_CANNOT, _413="too many bytes or pixels", _415="not an image")

    @router.post("/images", status_code=202, responses=too_large, openapi_extra=body)
    async def image(request: Request, name: Annotated[str, Query(min_length=1, max_length=200)]) -> JobView:
        """Add an image to the study: prediction, activation maps of all layers of the study, heatmaps."""
        able()
        try:
            wanted = uploads.keep(await uploads.read(request.stream()), name, inside)
        except uploads.TooLargeError as error:
            raise HTTPException(413, str(error)) from error
        except (GoneError, WriteError):
            raise
        except InnersightError as error:
            raise HTTPException(415, str(error)) from error
        try:
            return JobView.of(added(wanted))
        except HTTPException:
            forget(wanted)
            raise

    return router


_BYTES = {"type": "string", "format": "binary", "description": "the bytes of an image file"}


def reason(source: str) -> str | None:
    """Return why a network cannot be opened again from its source, or None; torch is not loaded to find out.

    >>> reason("timm:resnet18") is None, reason("nn.Module Sequential") is None
    (True, False)
    """
    origin = source.partition(":")[0].partition("?")[0]
    if origin.isidentifier() and (Path(innersight.__file__).parent / "sources" / "origins" / f"{origin}.py").is_file():
        return None
    return (
        "The network was passed in Python and cannot be opened by name. To compute, open the study with "
        "study.view(model=...), or name the network with `innersight view STUDY --model MODEL`."
    )
