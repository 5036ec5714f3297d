"""The server's application: what can be asked, and what is answered.

Needs the extra ``serve``; nothing else of the package imports this module before it is used.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from cmad.serve import metrics, uploads
from cmad.serve.hub import Hub
from cmad.serve.limits import Limits, TooLargeError, WrongTypeError
from cmad.serve.results import Result
from cmad.serve.worker import FullError, Worker
from cmad.version import __version__

LOOK, BEAT = 0.1, 5.0
"""Seconds between two looks for new parts to send to a live page, and between signs of life."""
FAULTS = (ValueError, TypeError, RuntimeError, OSError)
"""Errors that tell of a part, or of the machine; any other is a mistake."""
WATCHERS = 32
"""Live pages that are open together."""
PAGE = {"live.html": "text/html", "live.js": "text/javascript", "live.css": "text/css"}
SAFE = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
EXAMPLE: dict[str, Any] = {
    "name": "t017",
    "rgb": "t017.png",
    "xyz": "t017.tiff",
    "score": 0.185,
    "threshold": 0.204,
    "rejected": False,
    "verdict": "accepted",
    "p_value": 0.19,
    "regions": [],
    "defect": None,
    "label": None,
    "seconds": 0.041,
    "warnings": [],
    "error": None,
    "map": None,
    "overlay": None,
    "model": "part 3fa92c01d7be",
    "drift": [],
    "number": 412,
}


class Problem(BaseModel):
    """Why there is no verdict."""

    detail: str = Field(examples=["points.tiff: cannot be read: not a TIFF file"])


class Line(BaseModel):
    """A part's verdict, as a line of scores.jsonl has it."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"example": EXAMPLE})
    name: str
    score: float
    threshold: float | None
    rejected: bool | None
    verdict: Literal["accepted", "rejected", "not inspected"] | None
    p_value: float | None
    regions: list[dict[str, Any]] | None
    seconds: float
    warnings: list[str]
    map: str | None = Field(description="With map=tiff: the map, as a data URL.")
    overlay: str | None = Field(description="With map=png: the map over the image, as a data URL.")
    model: str
    drift: list[str]
    number: int


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of these codes."""
    return {code: {"model": Problem} for code in codes}


def make(
    workers: Sequence[Worker], hub: Hub, limits: Limits, stopping: Callable[[], bool]
) -> FastAPI:
    """Make the application.

    Args:
        workers: of the models, the first being the usual one; started and stopped with it.
        hub: that they tell of their parts.
        limits: of what is sent.
        stopping: whether the server is about to end, so that open pages are let go.

    """
    known = {worker.name: worker for worker in workers}
    watchers = 0

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            await asyncio.to_thread(worker.stop)

    app = FastAPI(
        title="cmad",
        version=__version__,
        summary="Verdicts on parts, from an image and its registered 3D points.",
        lifespan=life,
        docs_url=None,  # whose scripts come from elsewhere
        redoc_url=None,
    )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()
        )
        return JSONResponse({"detail": said}, 422)

    @app.post(
        "/score",
        response_model=Line,
        responses=problems(400, 401, 403, 404, 408, 413, 415, 422, 503),
        summary="Judge a part.",
    )
    async def score(
        image: Annotated[UploadFile, File(description="PNG, JPEG, BMP or TIFF, 8 bits, RGB.")],
        points: Annotated[
            UploadFile,
            File(
                description="Registered points, TIFF, PLY, PCD or NPZ; or a depth image, PNG or "
                "TIFF, with intrinsics."
            ),
        ],
        model: Annotated[str | None, Form(description="Of several; the first.")] = None,
        name: Annotated[str | None, Form(max_length=500, description="Of the part.")] = None,
        unit: Annotated[Literal["m", "mm"] | None, Form(description="Of the points.")] = None,
        intrinsics: Annotated[
            str | None, Form(description="FX,FY,CX,CY.", examples=["600,600,320,240"])
        ] = None,
        depth_unit: Annotated[Literal["m", "mm"] | None, Form()] = None,
        depth_scale: Annotated[float | None, Form(gt=0, allow_inf_nan=False)] = None,
        map: Annotated[
            Literal["tiff", "png"] | None, Form(description="Send the map, too.")
        ] = None,
        strict: Annotated[
            bool, Form(description="Refuse a part that is unlike the training parts.")
        ] = False,
    ) -> Response:
        worker = workers[0] if model is None else known.get(model)
        if worker is None:
            return _problem(404, f"model must be one of {', '.join(known)}, got {model!r}")
        rgb, xyz = (
            uploads.Upload(field, file.filename or "", file.file)
            for field, file in (("image", image), ("points", points))
        )
        own = uploads.named(name) or uploads.named((image.filename or "").rpartition(".")[0])
        result = Result(own or "part", rgb.label, xyz.label)
        try:
            given = uploads.units_of(
                worker.detector.units, unit, intrinsics, depth_unit, depth_scale
            )
            sample = await asyncio.to_thread(uploads.read, rgb, xyz, given, limits)
        except FAULTS as error:
            result.error = str(error)
            hub.add(worker.name, asdict(result))  # not the verdict on the part before it
            return _refused(error)
        try:
            line = await asyncio.wrap_future(worker.put(result, sample, map or "", strict))
        except FullError as error:
            return _problem(503, str(error), {"Retry-After": str(error.seconds)})
        except FAULTS as error:
            return _refused(error)
        return Response(json.dumps(line, allow_nan=False), media_type="application/json")

    @app.get("/model", summary="Say which models there are.", responses=problems(404))
    async def models(name: Annotated[str | None, Query()] = None) -> Response:
        if name is not None and name not in known:
            return _problem(404, f"name must be one of {', '.join(known)}, got {name!r}")
        found = [about(w) for w in workers if name in (None, w.name)]
        return JSONResponse({"models": found})

    @app.get("/health", summary="Say whether all is well.", responses=problems(503))
    async def health() -> Response:
        of = {
            w.name: {"working": w.alive, "waiting": w.waiting, "note": w.replaced} for w in workers
        }
        well = all(worker.alive for worker in workers) and not stopping()
        status = "ok" if well else "stopping" if stopping() else "a worker has ended"
        return JSONResponse({"status": status, "models": of}, 200 if well else 503)

    @app.get("/metrics", summary="For Prometheus.", response_class=PlainTextResponse)
    async def numbers() -> Response:
        return Response(metrics.text(workers, hub), media_type=metrics.TYPE)

    @app.get("/events", include_in_schema=False)
    async def events() -> Response:
        if watchers >= WATCHERS:
            return _problem(503, f"{WATCHERS} pages are open", {"Retry-After": "30"})
        return StreamingResponse(stream(), media_type="text/event-stream", headers=SAFE)

    async def stream() -> AsyncIterator[str]:
        nonlocal watchers
        watchers += 1
        try:
            at, quiet = 0, BEAT
            while not stopping():
                # What a slow page misses is not kept for it: it gets what is the last then.
                parts = hub.since(at)
                if parts or quiet >= BEAT:
                    at, quiet = max([at, *(part["number"] for part in parts)]), 0.0
                    yield f"data: {json.dumps({'parts': parts, **state()})}\n\n"
                await asyncio.sleep(LOOK)
                quiet += LOOK
        finally:
            watchers -= 1

    def state() -> Mapping[str, object]:
        drift = {w.name: None if w.drift is None else _drift(w) for w in workers}
        notes = [f"{w.name}: {w.replaced}" for w in workers if w.replaced]
        return {"shifts": hub.shifts(), "drift": drift, "notes": notes, "models": list(known)}

    def add(path: str, name: str) -> None:
        content = files("cmad.serve").joinpath("page", name).read_bytes()

        async def page() -> Response:
            return Response(content, media_type=PAGE[name], headers=SAFE)

        app.get(path, include_in_schema=False)(page)

    for name in PAGE:
        add("/" if name == "live.html" else f"/{name}", name)
    return app


def about(worker: Worker) -> dict[str, object]:
    """Say what a model is."""
    detector = worker.detector
    return {
        "name": worker.name,
        "file": worker.path.name,
        "sha256": worker.digest,
        "detector": repr(detector),
        "modalities": list(detector.modalities),
        "threshold": detector.threshold,
        "false_reject_rate": detector.false_reject_rate,
        "units": {f.name: getattr(detector.units, f.name) for f in fields(detector.units)},
        "note": worker.replaced,
    }


def _drift(worker: Worker) -> dict[str, object]:
    if worker.drift is None:
        return {}
    monitor = worker.drift.monitor
    stream, stake = max(monitor.stakes.items(), key=lambda one: one[1])
    return {
        "moved": worker.drift.moved,
        "parts": monitor.parts,
        "stream": stream,
        "stake": stake,
        "limit": monitor.limit,
    }


def _refused(error: Exception) -> JSONResponse:
    for kind, code in ((TooLargeError, 413), (WrongTypeError, 415), ((ValueError, TypeError), 422)):
        if isinstance(error, kind):
            return _problem(code, str(error))
    return _problem(500, str(error) or type(error).__name__)


def _problem(code: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, code, headers)
