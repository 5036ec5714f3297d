"""What comes before a request is read: who asks, how much is sent, and how long that takes."""

import asyncio
import base64
import hmac
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class Gate:
    """An ASGI application around another one."""

    def __init__(
        self,
        app: App,
        *,
        key: str | None,
        most: int,
        at_once: int | None,
        seconds: float,
        names: Iterable[str] | None = None,
    ) -> None:
        """Stand before an application.

        Args:
            app: the other one.
            key: that a request must have, as ``Authorization: Bearer KEY``, ``X-API-Key: KEY`` or
                the password of HTTP's basic authentication, which browsers ask for; None for none.
            most: bytes of a request.
            at_once: parts that may be read, wait and be judged together; None where none are sent.
            seconds: in which a request must have come.
            names: of this host that a request may name; None for any. Pages of other sites, whose
                name was made to lead here, cannot then read answers.

        """
        self._app, self._key, self._most = app, key, most
        self._free, self._seconds = at_once, seconds
        self._names = None if names is None else frozenset(names)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if self._free is None or (scope["method"], scope["path"]) != ("POST", "/score"):
            await self._app(scope, self._bounded(receive), send)
            return
        if self._free <= 0:
            await _answer(503, "too many parts at once; come again in 1 s", {"Retry-After": "1"})(
                scope, receive, send
            )
            return
        self._free -= 1
        try:
            await self._app(scope, self._bounded(receive), send)
        finally:
            self._free += 1

    def _refusal(self, scope: MutableMapping[str, Any]) -> JSONResponse | None:
        headers = {name.decode("latin-1").lower(): value for name, value in scope["headers"]}
        asked = {name: headers.get(name, b"").decode("latin-1") for name in ("host", "origin")}
        if self._names is not None and urlsplit(f"//{asked['host']}").hostname not in self._names:
            return _answer(403, f"this server is not called {asked['host']!r}")
        if asked["origin"] and urlsplit(asked["origin"]).netloc != asked["host"]:
            return _answer(403, "pages of other sites may not ask this server")
        if self._key is not None and not hmac.compare_digest(_key(headers), self._key.encode()):
            why = {"WWW-Authenticate": 'Basic realm="cmad"'}
            return _answer(401, "this server needs a key: Authorization: Bearer KEY", why)
        length = headers.get("content-length", b"0")
        if not length.isdigit() or int(length) > self._most:
            return _answer(413, _too_large(self._most), {"Connection": "close"})
        return None

    def _bounded(self, receive: Receive) -> Receive:
        end, got, whole = monotonic() + self._seconds, 0, False

        async def bounded() -> Message:
            nonlocal got, whole
            if whole:  # what comes now is that the client goes, whenever that is
                return await receive()
            try:
                message = await asyncio.wait_for(receive(), max(end - monotonic(), 0.001))
            except (TimeoutError, asyncio.TimeoutError) as error:  # one from Python 3.11 on
                raise HTTPException(408, f"not all sent in {self._seconds:g} s") from error
            got += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if got > self._most:
                raise HTTPException(413, _too_large(self._most))
            return message

        return bounded


def _too_large(most: int) -> str:
    return f"larger than the {most / 2**20:g} MB taken here"


def _key(headers: dict[str, bytes]) -> bytes:
    """Return the key that a request has; empty where it has none."""
    if "x-api-key" in headers:
        return headers["x-api-key"].strip()
    kind, _, rest = headers.get("authorization", b"").partition(b" ")
    if kind.lower() == b"bearer":
        return rest.strip()
    if kind.lower() == b"basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
        except ValueError:
            return b""
    return b""


def _answer(code: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, code, headers)
