"""Verdicts to an MQTT broker, with quality of service 1: the broker says that it has each."""

import errno
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cmad.serve.extras import need

TIMEOUT = 10.0
"""Seconds to wait for the broker."""
PORT, TLS_PORT = 1883, 8883


@dataclass(frozen=True)
class Login:
    """Who publishes."""

    user: str
    password: Callable[[], str | None]
    """Asked for at each login, so that it can be changed meanwhile; None for none. Raises OSError
    or ValueError where it cannot be had."""


class Mqtt:
    """A topic of a broker."""

    name = "mqtt"

    def __init__(
        self,
        broker: str,
        topic: str,
        login: Login | None = None,
        *,
        tls: bool = False,
        ca: Path | None = None,
    ) -> None:
        """Take the broker's address; nothing is connected yet.

        Args:
            broker: ``HOST`` or ``HOST:PORT``, with ``mqtt://`` or ``mqtts://`` before it or not.
            topic: to publish to; may have levels, not wildcards.
            login: who publishes; None for nobody in particular.
            tls: encrypt, as ``mqtts://`` does.
            ca: certificates that vouch for the broker's; None for the system's.

        Raises:
            ValueError: no such address or topic, or what belongs to TLS without it.
            RuntimeError: paho-mqtt, of the extra ``line``, is not installed.
            OSError: the certificates or the password cannot be read.

        """
        place, tls = _scheme(broker, tls)
        self._host, self._port = address(place, "--mqtt", TLS_PORT if tls else PORT)
        if not topic or set(topic) & set("+#\0"):
            raise ValueError(f"--mqtt-topic must be a topic without + and #, got {topic!r}")
        if ca is not None and not tls:
            raise ValueError("--mqtt-ca is of TLS, which --mqtt-tls or mqtts://HOST asks for")
        if login is not None:
            login.password()  # it can be had: now, not after the work
        self._topic, self._login = topic, login
        self._trust = _trust(ca) if tls else None
        self._library = need("paho.mqtt.client", "paho-mqtt", "line", "--mqtt")
        self._version = need("paho.mqtt.enums", "paho-mqtt", "line", "--mqtt").CallbackAPIVersion
        self._client: Any = None

    @property
    def in_clear(self) -> bool:
        """Whether a login goes to another machine without encryption."""
        here = ("127.0.0.1", "::1", "localhost")
        return self._login is not None and self._trust is None and self._host not in here

    def send(self, line: bytes, verdict: Mapping[str, object]) -> None:
        """Publish it and wait for the broker's word; see `cmad.serve.outbox.Receiver`."""
        try:
            if self._client is None:
                self._connect()
            sent = self._client.publish(self._topic, line, qos=1)
            sent.wait_for_publish(TIMEOUT)
            done = sent.is_published()
        except (ValueError, RuntimeError) as error:  # not connected any more
            self.close()
            raise OSError(f"{self._host}:{self._port}: {error}") from error
        except OSError:
            self.close()
            raise
        if not done:
            self.close()
            raise OSError(f"{self._host}:{self._port} did not confirm in {TIMEOUT:g} s")

    def close(self) -> None:
        """Say goodbye; what waits in the connection is dropped: the outbox has it."""
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()

    def _connect(self) -> None:
        # A fresh client each time, so that nothing of a broken connection is sent by it later.
        client = self._library.Client(self._version.VERSION2, reconnect_on_failure=False)
        client.connect_timeout = TIMEOUT
        if self._trust is not None:
            client.tls_set_context(self._trust)
        if self._login is not None:
            client.username_pw_set(self._login.user, self._login.password())
        answer, said = threading.Event(), [""]

        def answered(_: object, __: object, ___: object, reason: Any, ____: object) -> None:
            said[0] = str(reason) if reason.is_failure else "ok"
            answer.set()

        client.on_connect = answered
        client.on_disconnect = lambda *_: answer.set()
        try:
            client.connect(self._host, self._port)
        except ssl.SSLError as error:
            raise OSError(f"{self._host}:{self._port}: {_why(error)}") from error
        except OSError as error:
            hint = "; does it speak TLS?" if self._trust and error.errno == errno.ECONNRESET else ""
            raise OSError(f"{self._host}:{self._port}: {error.strerror or error}{hint}") from error
        client.loop_start()
        self._client = client
        if not answer.wait(TIMEOUT):
            raise OSError(f"{self._host}:{self._port} did not answer in {TIMEOUT:g} s")
        if said[0] != "ok":
            raise OSError(f"{self._host}:{self._port} {self._refused(said[0])}")

    def _refused(self, reason: str) -> str:
        """Say why a broker has hung up."""
        if not reason:
            return "closed the connection" + ("" if self._trust else "; does it want --mqtt-tls?")
        if self._login is None:
            return f"wants a login ({reason}): --mqtt-user, --mqtt-password-file"
        return f"does not let {self._login.user!r} in ({reason}): wrong user or password"


def _scheme(broker: str, tls: bool) -> tuple[str, bool]:
    """Return the address without its scheme, and whether to encrypt."""
    place = broker.strip()
    if "@" in place:  # not said again: it would show the password
        raise ValueError("--mqtt must be without a user; --mqtt-user and --mqtt-password-file")
    if "://" not in place:
        return place, tls
    parts = urlsplit(place)
    if parts.scheme not in ("mqtt", "mqtts") or parts.path.strip("/") or parts.query:
        raise ValueError(f"--mqtt must be HOST, mqtt://HOST or mqtts://HOST, got {broker!r}")
    return parts.netloc, tls or parts.scheme == "mqtts"


def _trust(ca: Path | None) -> ssl.SSLContext:
    """Return what checks the broker's certificate and name."""
    if ca is not None:
        ca.open("rb").close()  # where it cannot be read this error names it, ssl's does not
    try:
        return ssl.create_default_context(cafile=None if ca is None else str(ca))
    except ssl.SSLError as error:
        raise ValueError(f"--mqtt-ca {ca} holds no certificates in PEM: {_why(error)}") from error


def _why(error: ssl.SSLError) -> str:
    """Say what is wrong with a connection by TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.lower().rstrip(".")
        return f"the broker's certificate does not hold ({why}); --mqtt-ca names who vouches for it"
    return f"no TLS ({(error.reason or str(error)).replace('_', ' ').lower()})"


def address(text: str, option: str, port: int | None = None, host: str = "") -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``HOST`` where a port is usual, ``PORT`` a host.

    Raises:
        ValueError: it is none of them.

    """
    bare = text.strip()
    before, colon, after = ("", "", bare) if bare.endswith("]") else bare.rpartition(":")
    if not colon and host and after.isdigit():
        before = host
    elif not colon and port is not None:
        before, after = after, str(port)
    wanted = "HOST or HOST:PORT" if port is not None else "PORT or HOST:PORT"
    if not before or not after.isdigit() or not 0 < int(after) < 65536:
        raise ValueError(f"{option} must be {wanted}, got {text!r}")
    return before.strip("[]"), int(after)
