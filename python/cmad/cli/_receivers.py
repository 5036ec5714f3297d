"""Who is sent the verdicts of `cmad watch`: their options, and their beginning and end."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from cmad.cli._secrets import secret, tell_if_open
from cmad.serve.mqtt import Login, Mqtt
from cmad.serve.opcua import OpcUa
from cmad.serve.outbox import Receiver, Sender
from cmad.serve.webhook import Webhook

GRACE = 10.0
"""Seconds that receivers get at the end for what they have not got yet."""

WebhookUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="POST each verdict as JSON to it.", show_default=False),
]
Broker = Annotated[
    str | None,
    typer.Option(
        metavar="HOST[:PORT]",
        help="Publish each verdict as JSON to this broker, with quality of service 1; "
        "mqtts://HOST[:PORT] with TLS.",
        show_default=False,
    ),
]
Topic = Annotated[str, typer.Option(metavar="TOPIC", help="With --mqtt: where to.")]
User = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="With --mqtt: log in as this user.", show_default=False),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="With --mqtt-user: its password, of one line; read again at each login.",
        show_default=False,
    ),
]
Tls = Annotated[
    bool, typer.Option("--mqtt-tls", help="With --mqtt: by TLS, as mqtts:// says, port 8883.")
]
Ca = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="With TLS: certificates (PEM) of who vouches for the broker.",
        show_default="the system's",
    ),
]
Endpoint = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:]PORT",
        help="Serve the latest verdict as nodes of OPC UA; 4840 on this machine only, "
        "0.0.0.0:4840 for others too.",
        show_default=False,
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="With --opcua: this server's certificate, PEM or DER; clients must sign and encrypt.",
        show_default=False,
    ),
]
Key = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="With --opcua-cert: its key, PEM or DER.", show_default=False
    ),
]


@dataclass
class Receivers:
    """The receivers that were asked for."""

    makers: list[Callable[[], Receiver]] = field(default_factory=list)
    senders: list[Sender] = field(default_factory=list)

    def webhook(self, url: str | None) -> None:
        """Take the options of a web server."""
        if url is not None:
            self.makers.append(lambda: Webhook(url))

    def mqtt(
        self,
        broker: str | None,
        topic: str,
        user: str | None,
        password_file: Path | None,
        tls: bool,
        ca: Path | None,
    ) -> None:
        """Take the options of a broker.

        Raises:
            ValueError: of one that is not given.

        """
        if broker is None:
            _alone("--mqtt", mqtt_user=user, mqtt_password_file=password_file, mqtt_ca=ca)
            if tls:
                _alone("--mqtt", mqtt_tls=tls)
            return
        if user is None:
            _alone("--mqtt-user", mqtt_password_file=password_file)

        if password_file is not None:
            tell_if_open("--mqtt-password-file", password_file)

        def password() -> str | None:
            if password_file is None:
                return None
            found = secret("--mqtt-password-file", password_file)
            if not found or "\n" in found:
                raise ValueError(f"--mqtt-password-file {password_file} must hold one line")
            return found

        login = None if user is None else Login(user, password)
        self.makers.append(lambda: Mqtt(broker, topic, login, tls=tls, ca=ca))

    def opcua(self, where: str | None, model: str, cert: Path | None, key: Path | None) -> None:
        """Take the options of a server of OPC UA.

        Raises:
            ValueError: of one that is not given; or one of certificate and key.

        """
        if where is None:
            _alone("--opcua", opcua_cert=cert, opcua_key=key)
            return
        if (cert is None) != (key is None):
            raise ValueError("--opcua-cert and --opcua-key belong together")
        own = None if cert is None or key is None else (cert, key)
        self.makers.append(lambda: OpcUa(where, model, own))

    def start(self, journal: Path, note: Callable[[str], None]) -> None:
        """Begin to send the lines of a journal.

        Raises:
            ValueError, RuntimeError, OSError: see the receivers.

        """
        for make in self.makers:
            receiver = make()
            if isinstance(receiver, Mqtt) and receiver.in_clear:
                note("--mqtt-user: user and password go to the broker unencrypted; --mqtt-tls")
            self.senders.append(Sender(receiver, journal, note))

    def notify(self) -> None:
        """Tell that there is a line more."""
        for sender in self.senders:
            sender.notify()

    def finish(self, note: Callable[[str], None]) -> None:
        """Send what is left, and say what is not sent."""
        for sender in reversed(self.senders):
            if waiting := sender.finish(GRACE):
                note(
                    f"{sender.name}: {waiting} verdicts are not sent yet; the same command goes on"
                )


def _alone(wanted: str, **given: object) -> None:
    """Raise ValueError where an option is given whose other one is not."""
    for name, value in given.items():
        if value is not None:
            raise ValueError(f"--{name.replace('_', '-')} is of {wanted}, which is not given")
