"""REST servers with one route, ``POST /act``: X-VLA's and OpenVLA's."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any

import httpx

from vla_bench.policies.base import EpisodeOutcome, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.codecs import rest
from vla_bench.policies.remote.connections import tls
from vla_bench.policies.remote.connections.base import Dial, failed
from vla_bench.policies.remote.errors import MessageFault, RemoteFault

ROUTE = "/act"
AWAY = (502, 503, 504)
"""What a proxy says for a server that is loading or has gone."""
_TAG = re.compile(r"<[^>]*>")


class RestConnection:
    """A server without a handshake, a health route or a memory."""

    stateless = True

    def __init__(self, how: Dial) -> None:
        address = how.address
        self.where = str(address)
        self._url = f"{address.scheme}://{address.host}:{address.port}{address.path or ROUTE}"
        self._dialect = how.dialect
        self._largest = how.largest
        self.statement: Mapping[str, Any] = {}
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if how.token:
            headers["Authorization"] = f"Bearer {how.token}"
        trust = tls.context(how.ca_file) if address.scheme == "https" else True
        by_environment = how.proxy == tls.ENVIRONMENT
        proxy = None if by_environment or not how.proxy else how.proxy
        self._client = httpx.Client(
            headers=headers, trust_env=by_environment, proxy=proxy, verify=trust, timeout=how.seconds
        )
        self.open = True
        try:  # whether anybody is there at all; what else it says to GET is of no interest
            with self._client.stream("GET", f"{address.scheme}://{address.host}:{address.port}/") as response:
                status = response.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.close()
            if lasting := tls.distrust(self.where, error):
                raise lasting from None
            words = f"{error or type(error).__name__}{tls.hint(how, error)}"
            raise RemoteFault(f"{self.where} cannot be reached: {words}") from None
        if status in AWAY:
            self.close()
            raise RemoteFault(f"{self.where} cannot be reached: a proxy before it answers HTTP {status}")

    def start_episode(self, context: SubtaskContext) -> None:
        """The protocol has no word for it."""

    def end_episode(self, outcome: EpisodeOutcome) -> None:
        """Nor for this."""

    def ask(self, request: Mapping[str, Any], seconds: float) -> Any:
        """The reply's value."""
        encode = rest.encode_x_vla if self._dialect == "x_vla" else rest.encode_openvla
        body = rest.encode_openvla(request, double=True) if self._dialect == "openvla_encoded" else encode(request)
        status, content = self._post(body, seconds)
        if 300 <= status < 400:
            raise PolicyError(f"{self.where} sends us elsewhere (HTTP {status}), and only addresses of yours are asked")
        if status == 413:
            raise PolicyError(
                f"{self.where}, or a proxy before it, does not take a request of {len(body):,} bytes (HTTP 413): raise "
                "its limit (nginx: client_max_body_size), or send smaller images"
            )
        if status in AWAY:
            self.close()
            raise RemoteFault(f"{self.where} is away: a proxy before it answers HTTP {status}")
        if status in (401, 403):
            raise PolicyError(f"{self.where} refuses us (HTTP {status}); it wants a token: policy.token_env")
        try:
            reply = rest.decode_reply(content, self._largest)
        except MessageFault as fault:
            if status >= 400:
                said = _TAG.sub("\n", content[:2000].decode(errors="replace"))
                raise failed(self.where, said, f" (HTTP {status})") from None
            raise MessageFault(f"{self.where} sent {fault}") from None
        if isinstance(reply, dict) and "error" in reply:
            raise failed(self.where, str(reply["error"]))
        if status >= 400 or (isinstance(reply, str) and reply == "error"):  # OpenVLA's way of failing, with status 200
            words = reply.get("detail") if isinstance(reply, dict) else reply
            raise failed(self.where, str(words), f" (HTTP {status})")
        return reply

    def model_seconds(self, reply: Any) -> float | None:
        """It does not say."""
        return None

    def close(self) -> None:
        """Closes the connection."""
        self.open = False
        with contextlib.suppress(Exception):
            self._client.close()

    def _post(self, body: bytes, seconds: float) -> tuple[int, bytes]:
        until = time.monotonic() + seconds
        try:
            with self._client.stream("POST", self._url, content=body, timeout=seconds) as response:
                content = bytearray()
                for piece in response.iter_raw():
                    content += piece
                    if time.monotonic() > until:  # each piece has its own limit there
                        raise httpx.ReadTimeout("slow")
                    if len(content) > self._largest:
                        raise MessageFault(f"{self.where} sent a message of more than {self._largest:,} bytes")
                return response.status_code, bytes(content)
        except httpx.TimeoutException:
            self.close()
            raise RemoteFault(f"{self.where} has not answered for {seconds:.3g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            self.close()
            raise RemoteFault(f"the connection to {self.where} is lost: {error or type(error).__name__}") from None
        except MessageFault:
            self.close()
            raise
