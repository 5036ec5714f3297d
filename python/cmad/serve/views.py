"""What of a line can be looked at: the live page with its events, models, health and metrics.

Needs the extra ``serve``; `cmad serve` adds `POST /score` to it, and `cmad watch --port` does not.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import fields
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from pydantic import BaseModel, Field

from cmad.serve import metrics
from cmad.serve.hub import Hub
from cmad.serve.model import Model
from cmad.version import __version__

LOOK, BEAT = 0.1, 5.0
"""Seconds between two looks for new parts to send to a live page, and between signs of life."""
WATCHERS = 32
"""Live pages that are open together."""
PAGE = {"live.html": "text/html", "live.js": "text/javascript", "live.css": "text/css"}
SAFE = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Problem(BaseModel):
    """Why there is no verdict."""

    detail: str = Field(examples=["points.tiff: cannot be read: not a TIFF file"])


def problems(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers of these codes."""
    return {code: {"model": Problem} for code in codes}


def problem(code: int, detail: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Answer that something is not so."""
    return JSONResponse({"detail": detail}, code, headers)


def views(
    models: Sequence[Model], hub: Hub, stopping: Callable[[], bool], **settings: Any
) -> FastAPI:
    """Make an application that shows models at work.

    Args:
        models: that are shown.
        hub: that is told of their parts.
        stopping: whether the server is about to end, so that open pages are let go.
        settings: of FastAPI, beside these.

    """
    known = {model.name: model for model in models}
    watchers = 0
    app = FastAPI(
        title="cmad",
        version=__version__,
        summary="Verdicts on parts, from an image and its registered 3D points.",
        docs_url=None,  # whose scripts come from elsewhere
        redoc_url=None,
        **settings,
    )

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(
            f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors()
        )
        return JSONResponse({"detail": said}, 422)

    @app.get("/model", summary="Say which models there are.", responses=problems(404))
    async def known_models(name: Annotated[str | None, Query()] = None) -> Response:
        if name is not None and name not in known:
            return problem(404, f"name must be one of {', '.join(known)}, got {name!r}")
        found = [about(w) for w in models if name in (None, w.name)]
        return JSONResponse({"models": found})

    @app.get("/health", summary="Say whether all is well.", responses=problems(503))
    async def health() -> Response:
        of = {w.name: {"working": w.alive, "waiting": w.waiting, "note": w.note} for w in models}
        well = all(w.alive for w in models) and not stopping()
        status = "ok" if well else "stopping" if stopping() else "not at work"
        return JSONResponse({"status": status, "models": of}, 200 if well else 503)

    @app.get("/metrics", summary="For Prometheus.", response_class=PlainTextResponse)
    async def numbers() -> Response:
        return Response(metrics.text(models, hub), media_type=metrics.TYPE)

    @app.get("/events", include_in_schema=False)
    async def events() -> Response:
        if watchers >= WATCHERS:
            return problem(503, f"{WATCHERS} pages are open", {"Retry-After": "30"})
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
        drift = {w.name: None if w.drift is None else _drift(w) for w in models}
        notes = [f"{w.name}: {w.note}" for w in models if w.note]
        return {"shifts": hub.shifts(), "drift": drift, "notes": notes, "models": list(known)}

    def add(path: str, name: str) -> None:
        content = files("cmad.serve").joinpath("page", name).read_bytes()

        async def page() -> Response:
            return Response(content, media_type=PAGE[name], headers=SAFE)

        app.get(path, include_in_schema=False)(page)

    for name in PAGE:
        add("/" if name == "live.html" else f"/{name}", name)
    return app


def about(model: Model) -> dict[str, object]:
    """Say what a model is."""
    detector = model.detector
    return {
        "name": model.name,
        "file": model.path.name,
        "sha256": model.digest,
        "detector": repr(detector),
        "modalities": list(detector.modalities),
        "threshold": detector.threshold,
        "false_reject_rate": detector.false_reject_rate,
        "units": {f.name: getattr(detector.units, f.name) for f in fields(detector.units)},
        "note": model.note,
    }


def _drift(model: Model) -> dict[str, object]:
    if model.drift is None:
        return {}
    monitor = model.drift.monitor
    stream, stake = max(monitor.stakes.items(), key=lambda one: one[1])
    return {
        "moved": model.drift.moved,
        "parts": monitor.parts,
        "stream": stream,
        "stake": stake,
        "limit": monitor.limit,
    }
