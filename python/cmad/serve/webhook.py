"""Verdicts to a web server: one POST with the line's JSON for each."""

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping

from cmad.serve.outbox import RefusedError

TIMEOUT = 10.0
"""Seconds to wait for an answer."""
UNWANTED = (400, 410, 413, 415, 422)
"""Answers that say that this verdict will never be taken; others may pass."""


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirection, which would turn a POST into a GET."""

    def redirect_request(self, *_: object, **__: object) -> None:
        """Leave it: the answer is an error then."""


class Webhook:
    """A URL that takes verdicts; any answer from 200 to 299 says that it has one."""

    name = "webhook"

    def __init__(self, url: str) -> None:
        """Take the URL.

        Raises:
            ValueError: it is none of http or https.

        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"--webhook must be a URL, http://HOST/PATH or https, got {url!r}")
        self._url = url
        self._opener = urllib.request.build_opener(_Stays)

    def send(self, line: bytes, verdict: Mapping[str, object]) -> None:
        """Post it, with the id as Idempotency-Key; see `cmad.serve.outbox.Receiver`."""
        request = urllib.request.Request(
            self._url,
            data=line,
            headers={"Content-Type": "application/json", "Idempotency-Key": str(verdict["id"])},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=TIMEOUT) as answer:
                answer.read(1 << 16)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in UNWANTED:
                raise RefusedError(f"it answers {error.code} {error.reason}") from error
            raise OSError(f"it answers {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            raise OSError(str(error.reason)) from error
        except ValueError as error:  # an answer that is no HTTP
            raise OSError(str(error)) from error

    def close(self) -> None:
        """Nothing is held."""
