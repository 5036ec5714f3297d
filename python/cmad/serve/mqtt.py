"""Verdicts to an MQTT broker, with quality of service 1: the broker says that it has each."""

from collections.abc import Mapping
from typing import Any

from cmad.serve.extras import need

TIMEOUT = 10.0
"""Seconds to wait for the broker."""
PORT = 1883


class Mqtt:
    """A topic of a broker."""

    name = "mqtt"

    def __init__(self, broker: str, topic: str) -> None:
        """Take the broker's address; nothing is connected yet.

        Args:
            broker: ``HOST`` or ``HOST:PORT``.
            topic: to publish to; may have levels, not wildcards.

        Raises:
            ValueError: no such address or topic.
            RuntimeError: paho-mqtt, of the extra ``line``, is not installed.

        """
        self._host, self._port = address(broker, "--mqtt", PORT)
        if not topic or set(topic) & set("+#\0"):
            raise ValueError(f"--mqtt-topic must be a topic without + and #, got {topic!r}")
        self._topic = topic
        self._library = need("paho.mqtt.client", "paho-mqtt", "line", "--mqtt")
        self._version = need("paho.mqtt.enums", "paho-mqtt", "line", "--mqtt").CallbackAPIVersion
        self._client: Any = None

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
        client.connect(self._host, self._port)
        client.loop_start()
        self._client = client


def address(text: str, option: str, port: int | None = None, host: str = "") -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``, ``HOST`` where a port is usual, ``PORT`` a host.

    Raises:
        ValueError: it is none of them.

    """
    before, colon, after = text.strip().rpartition(":")
    if not colon and host and after.isdigit():
        before = host
    elif not colon and port is not None:
        before, after = after, str(port)
    wanted = "HOST or HOST:PORT" if port is not None else "PORT or HOST:PORT"
    if not before or not after.isdigit() or not 0 < int(after) < 65536:
        raise ValueError(f"{option} must be {wanted}, got {text!r}")
    return before.strip("[]"), int(after)
