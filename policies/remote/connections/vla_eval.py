"""vla-eval's model servers."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Mapping
from typing import Any

from vla_bench.policies.base import EpisodeOutcome, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.codecs import vla_eval
from vla_bench.policies.remote.codecs.vla_eval import PROTOCOL_VERSION, Message
from vla_bench.policies.remote.connections.base import Dial, failed
from vla_bench.policies.remote.connections.websocket import WebSocket
from vla_bench.policies.remote.errors import MessageFault, RemoteFault

HARNESS_VERSION = "0.8.0"
"""The release of vla-eval whose messages these are."""
WHOLE_SEQUENCES = "CALVINBenchmark"
_LAST_NUMBER = re.compile(r"[0-9]{1,12}$")


class VlaEvalConnection:
    """Hello, episodes, observations; the server keeps what it knows of an episode per connection."""

    stateless = False

    def __init__(self, how: Dial) -> None:
        self._socket = WebSocket(how)
        self._largest = how.largest
        self._seq = self._started = 0
        self._encoder = vla_eval.encoder()
        self._in_episode = False
        self._benchmark = how.benchmark
        hello = {"harness_version": HARNESS_VERSION, "protocol_version": PROTOCOL_VERSION}
        if how.benchmark:
            hello["benchmark"] = how.benchmark
        try:
            answer = self._answer(self._send("hello", hello, how.seconds), how.seconds)
        except RemoteFault:
            self.close()
            raise
        if answer.type != "hello":
            self.close()
            raise MessageFault(f"{self._socket.where} answers hello with {answer.type}")
        version = answer.payload.get("protocol_version")
        if version != PROTOCOL_VERSION:
            self.close()
            raise PolicyError(
                f"{self._socket.where} speaks version {version} of vla-eval's protocol; we speak {PROTOCOL_VERSION}"
            )
        self.statement: Mapping[str, Any] = answer.payload

    @property
    def open(self) -> bool:
        """Whether it can be asked."""
        return self._socket.open

    def start_episode(self, context: SubtaskContext) -> None:
        """``episode_start``, which has no reply unless it fails."""
        task = task_of(context, self._benchmark)
        self._started = self._send("episode_start", {"task": task}, 30.0)
        self._in_episode = True

    def end_episode(self, outcome: EpisodeOutcome) -> None:
        """``episode_end``, which has no reply."""
        if self._in_episode and self.open:
            self._in_episode = False
            metrics = {"success": outcome.success, "completed_subtasks": outcome.chain_length}
            plain = {"metrics": metrics, "steps": outcome.steps, "elapsed_sec": outcome.seconds}
            with contextlib.suppress(RemoteFault):  # the next episode will say so
                self._send("episode_end", plain, 5.0)

    def ask(self, request: Mapping[str, Any], seconds: float) -> Any:
        """The payload of the action."""
        answer = self._answer(self._send("observation", request, seconds), seconds)
        if answer.type != "action":
            self.close()
            raise MessageFault(f"{self._socket.where} answers an observation with {answer.type}")
        return answer.payload

    def model_seconds(self, reply: Any) -> float | None:
        """Its servers do not say."""
        return None

    def close(self) -> None:
        """Closes the connection."""
        self._socket.close()

    def _send(self, kind: str, payload: Mapping[str, Any], seconds: float) -> int:
        self._seq += 1
        self._socket.send(self._encoder(vla_eval.envelope(Message(kind, payload, self._seq))), seconds)
        return self._seq

    def _answer(self, seq: int, seconds: float) -> Message:
        """The message that answers ``seq``; late answers to earlier ones are passed over."""
        until = time.monotonic() + seconds
        while True:
            data = self._socket.receive(until - time.monotonic())
            try:
                message = vla_eval.decode(data.encode() if isinstance(data, str) else data, self._largest)
            except MessageFault as fault:
                self.close()
                raise MessageFault(f"{self._socket.where} sent {fault}") from None
            if message.type == "error" and message.seq in (seq, self._started):
                raise failed(self._socket.where, str(message.payload.get("error")))
            if message.seq == seq:
                return message


def task_of(context: SubtaskContext, benchmark: str) -> dict[str, Any]:
    """The task of an episode, as that benchmark of vla-eval names its own: CALVIN's are whole sequences, all others'
    one trial of a task. Where it is none of vla-eval's, as the others."""
    digits = _LAST_NUMBER.search(context.episode)
    number = int(digits[0]) if digits else 0
    if benchmark == WHOLE_SEQUENCES:
        return {"name": f"seq_{number:04d}", "seq_idx": number, "episode_idx": 0}
    name = context.task or context.episode
    return {"name": name, "task_name": name, "episode_idx": number}
