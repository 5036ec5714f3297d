"""The application of `cmad serve`: what `cmad.serve.views` shows, and `POST /score`.

Needs the extra ``serve``; nothing else of the package imports this module before it is used.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import FastAPI, File, Form, UploadFile
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from cmad.serve import uploads
from cmad.serve.hub import Hub
from cmad.serve.limits import Limits, TooLargeError, WrongTypeError
from cmad.serve.results import Result
from cmad.serve.views import problem, problems, views
from cmad.serve.worker import FullError, Worker

FAULTS = (ValueError, TypeError, RuntimeError, OSError)
"""Errors that tell of a part, or of the machine; any other is a mistake."""
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
    "levels": {"2d": 0.071, "3d": 0.064},
    "model": "part 3fa92c01d7be",
    "drift": [],
    "number": 412,
}


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

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        for worker in workers:
            worker.start()
        yield
        for worker in workers:
            await asyncio.to_thread(worker.stop)

    app = views(workers, hub, stopping, lifespan=life)

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
            return problem(404, f"model must be one of {', '.join(known)}, got {model!r}")
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
            return problem(503, str(error), {"Retry-After": str(error.seconds)})
        except FAULTS as error:
            return _refused(error)
        return Response(json.dumps(line, allow_nan=False), media_type="application/json")

    return app


def _refused(error: Exception) -> JSONResponse:
    for kind, code in ((TooLargeError, 413), (WrongTypeError, 415), ((ValueError, TypeError), 422)):
        if isinstance(error, kind):
            return problem(code, str(error))
    return problem(500, str(error) or type(error).__name__)
