"""GR00T's service over ZMQ: one request, one reply, one at a time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import zmq

from vla_bench.policies.base import EpisodeOutcome, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.codecs import groot
from vla_bench.policies.remote.connections.base import Dial, failed
from vla_bench.policies.remote.errors import MessageFault, RemoteFault


class GrootConnection:
    """The N1.6 line (observation by keyword, reply a pair) and the N1.5 line (flat keys)."""

    stateless = True

    def __init__(self, how: Dial) -> None:
        self.where = str(how.address)
        for name in ("proxy", "ca_file"):
            if getattr(how, name):
                raise PolicyError(f"policy.{name}: GR00T's ZMQ service has nothing like it; leave it out")
        self._token = how.token
        self._line = how.dialect
        self._largest = how.largest
        self.open = True
        # REQ is stuck after a reply that never came: such a socket is thrown away, and LINGER lets it go at once.
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        for option, value in ((zmq.LINGER, 0), (zmq.MAXMSGSIZE, how.largest), (zmq.IPV6, int("[" in self.where))):
            self._socket.setsockopt(option, value)
        try:
            self._socket.connect(self.where)
            config = self._call("get_modality_config", None, how.seconds)
        except zmq.ZMQError as error:
            self.close()
            raise RemoteFault(f"{self.where} cannot be reached: {error}") from None
        except RemoteFault:
            self.close()
            raise
        self.statement: Mapping[str, Any] = {"modality_config": config} if isinstance(config, dict) else {}

    def start_episode(self, context: SubtaskContext) -> None:
        """``reset``, which the N1.6 line has; it answers an empty map."""
        if self._line == "n1.6":
            self._call("reset", {"options": None}, 30.0)

    def end_episode(self, outcome: EpisodeOutcome) -> None:
        """The protocol has no word for it."""

    def ask(self, request: Mapping[str, Any], seconds: float) -> Any:
        """The map of actions."""
        data = dict(request) if self._line == "n1.5" else {"observation": dict(request), "options": None}
        reply = self._call("get_action", data, seconds)
        if self._line == "n1.6" and isinstance(reply, list) and len(reply) == 2:
            return reply[0]
        if self._line == "n1.5" and isinstance(reply, dict):
            return reply
        self.close()
        raise MessageFault(
            f"{self.where} answered with a {type(reply).__name__}; is it of another line than {self._line}?"
        )

    def model_seconds(self, reply: Any) -> float | None:
        """It does not say."""
        return None

    def close(self) -> None:
        """Closes the socket."""
        self.open = False
        with contextlib.suppress(zmq.ZMQError):
            self._socket.close(0)

    def _call(self, endpoint: str, data: Any, seconds: float) -> Any:
        request: dict[str, Any] = {"endpoint": endpoint}
        if data is not None:
            request["data"] = data
        if self._token:
            request["api_token"] = self._token
        until = time.monotonic() + seconds
        try:
            self._socket.setsockopt(zmq.SNDTIMEO, int(seconds * 1e3))
            self._socket.send(groot.encode(request))
            if not self._socket.poll(max(1, int((until - time.monotonic()) * 1e3))):
                self.close()
                raise RemoteFault(f"{self.where} has not answered for {seconds:.3g} s")
            data = self._socket.recv()
        except zmq.ZMQError as error:
            self.close()
            raise RemoteFault(f"the connection to {self.where} is lost: {error}") from None
        try:
            reply = groot.decode(data, self._largest)
        except MessageFault as fault:
            self.close()
            if str(fault) == groot.PICKLED:
                raise PolicyError(f"{self.where} sends {fault}") from None
            raise MessageFault(f"{self.where} sent {fault}") from None
        if isinstance(reply, dict) and set(reply) == {"error"}:
            said = str(reply["error"])
            if "Unauthorized" in said:
                raise PolicyError(f"{self.where} refuses us ({said}); it wants a token: policy.token_env")
            if "unexpected keyword argument" in said:
                raise PolicyError(
                    f"{self.where} is of the N1.6 line, and was asked in the words of N1.5 ({said}): type "
                    "policy.mapping= of a mapping with dialect n1.6"
                )
            raise failed(self.where, said)
        return reply
