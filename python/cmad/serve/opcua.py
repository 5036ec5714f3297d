"""The latest verdict as nodes of an OPC UA server, for PLCs that read or subscribe.

Nobody but this process can write to them. Until there is a first verdict, and where a part could
not be scored, ``Rejected`` is true: what is not known to be good does not pass.
"""

import asyncio
import logging
import math
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path
from typing import Any

from cmad.serve.extras import need
from cmad.serve.mqtt import address

TIMEOUT = 10.0
"""Seconds that writing the nodes may take."""
NAMESPACE = "urn:cmad"
BEAT = 1.0
"""Seconds between two heartbeats."""
NODES: dict[str, tuple[str, object]] = {
    "Name": ("String", ""),
    "Verdict": ("String", ""),
    "Score": ("Double", math.nan),
    "Threshold": ("Double", math.nan),
    "PValue": ("Double", math.nan),
    "Rejected": ("Boolean", True),
    "Regions": ("UInt32", 0),
    "LargestArea": ("Double", math.nan),
    "Drift": ("String", ""),
    "Model": ("String", ""),
    "Id": ("String", ""),
    "Parts": ("UInt32", 0),
    "Heartbeat": ("UInt32", 0),
}
"""Below Objects/cmad by name: type and first value. Of a part, Parts is written last: it counts
verdicts, and when it changes the others are of the new part. LargestArea is in mm²."""


class OpcUa:
    """An OPC UA server in a thread of its own."""

    name = "opcua"

    def __init__(self, where: str, model: str, own: tuple[Path, Path] | None = None) -> None:
        """Begin to listen.

        Args:
            where: ``PORT``, on this machine only, or ``HOST:PORT``; ``0.0.0.0:4840`` for all.
            model: first value of the node Model.
            own: this server's certificate and its key, PEM or DER: then clients must sign and
                encrypt (Basic256Sha256). None for neither.

        Raises:
            ValueError: no such address; or no certificate and key that belong together.
            RuntimeError: asyncua, of the extra ``line``, is not installed.
            OSError: the port is in use, for one, or a file cannot be read.

        """
        host, port = address(where, "--opcua", host="127.0.0.1")
        if own is not None:
            for path in own:
                path.open("rb").close()  # an error names it, and is none of the address
        self._library = need("asyncua", "asyncua", "line", "--opcua")
        # It warns where there is no encryption, which docs/line.md says.
        logging.getLogger("asyncua").setLevel(logging.ERROR)
        self._nodes: dict[str, Any] = {}
        self._parts = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="cmad-opcua-server", daemon=True
        )
        self._thread.start()
        try:
            self._wait(self._begin(f"opc.tcp://{host}:{port}/cmad", model, own), 60)
        except OSError as error:
            self._end()
            raise OSError(f"--opcua {where}: {error.strerror or error}") from error
        except BaseException:
            self._end()
            raise
        self._beating = asyncio.run_coroutine_threadsafe(self._beat(), self._loop)

    def send(self, line: bytes, verdict: Mapping[str, object]) -> None:
        """Write the nodes; see `cmad.serve.outbox.Receiver`."""
        self._parts += 1
        try:
            self._wait(self._write(values_of(verdict) | {"Parts": self._parts}), TIMEOUT)
        except (TimeoutError, FutureTimeout) as error:  # one from Python 3.11 on
            raise OSError("its server does not answer") from error

    def close(self) -> None:
        """Listen no more."""
        self._beating.cancel()
        self._wait(self._server.stop(), TIMEOUT)
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(TIMEOUT)
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, Any], seconds: float) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    async def _begin(self, endpoint: str, model: str, own: tuple[Path, Path] | None) -> None:
        self._server = server = self._library.Server()
        await server.init()
        # By default whoever calls itself admin may write, without a password.
        server.iserver.allow_remote_admin = False
        server.set_endpoint(endpoint)
        server.set_server_name("cmad")
        kinds = self._library.ua.SecurityPolicyType
        if own is None:
            server.set_security_policy([kinds.NoSecurity])
        else:
            await self._identify(*own)
            server.set_security_policy([kinds.Basic256Sha256_SignAndEncrypt])
        space = await server.register_namespace(NAMESPACE)
        folder = await server.nodes.objects.add_object(space, "cmad")
        for name, (kind, value) in NODES.items():
            first = model if name == "Model" else value
            type_ = getattr(self._library.ua.VariantType, kind)
            self._nodes[name] = await folder.add_variable(space, name, first, type_)
        await server.start()

    async def _identify(self, certificate: Path, key: Path) -> None:
        """Load who this server is; its address is the one that the certificate names."""
        from cryptography import x509  # which comes with asyncua

        files = (
            ("--opcua-cert", certificate, self._server.load_certificate),
            ("--opcua-key", key, self._server.load_private_key),
        )
        for option, path, take in files:
            content = path.read_bytes()
            try:
                await take(content, format="pem" if b"-----BEGIN" in content else "der")
            except (ValueError, TypeError) as error:
                what = "a certificate" if option == "--opcua-cert" else "a key without a password"
                raise ValueError(f"{option} {path} is not {what}, PEM or DER: {error}") from error
        of = self._server.iserver
        # Not to name an endpoint without encryption does not yet refuse one in asyncua.
        of.user_manager = _Encrypted(of.user_manager)
        self._server.set_identity_tokens([self._library.ua.AnonymousIdentityToken])
        if of.certificate.public_key() != of.private_key.public_key():
            raise ValueError(f"--opcua-key {key} is not the key of --opcua-cert {certificate}")
        try:
            names = of.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return
        for uri in names.value.get_values_for_type(x509.UniformResourceIdentifier)[:1]:
            await self._server.set_application_uri(uri)  # clients compare it

    async def _write(self, values: Mapping[str, object]) -> None:
        for name, value in values.items():
            type_ = getattr(self._library.ua.VariantType, NODES[name][0])
            await self._nodes[name].write_value(value, type_)

    async def _beat(self) -> None:
        beats = 0
        while True:
            await asyncio.sleep(BEAT)
            beats = (beats + 1) % 2**32
            await self._write({"Heartbeat": beats})


class _Encrypted:
    """Lets only those in whose channel is encrypted: they have shown a certificate for it."""

    def __init__(self, usual: Any) -> None:
        self._usual = usual

    def get_user(
        self,
        server: object,
        username: str | None = None,
        password: str | None = None,
        certificate: object = None,
    ) -> Any:
        """Return the user, None to refuse; asyncua gives the certificate of the channel."""
        if not certificate:
            return None
        return self._usual.get_user(server, username, password, certificate)


def values_of(verdict: Mapping[str, Any]) -> dict[str, object]:
    """Return the values of the nodes for a line of scores.jsonl, but the counter."""
    regions = verdict["regions"] or []
    areas = [region["area"] for region in regions if region["area"] is not None]
    failed = verdict["error"] is not None

    def number(name: str) -> float:
        return math.nan if verdict[name] is None else float(verdict[name])

    return {
        "Name": verdict["name"],
        "Verdict": "not scored" if failed else verdict["verdict"] or "without verdict",
        "Score": number("score"),
        "Threshold": number("threshold"),
        "PValue": number("p_value"),
        "Rejected": verdict["rejected"] is not False,
        "Regions": len(regions),
        "LargestArea": max(areas, default=math.nan),
        "Drift": "; ".join(verdict["drift"]),
        "Model": verdict["model"],
        "Id": verdict["id"],
    }
