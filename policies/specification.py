"""Asks a policy what it needs and what it is made of, in a process that is thrown away.

``python -m vla_bench.policies.specification RESULT`` imports the user's module and builds the policy if that is
the only way to know its needs. What that leaves behind (another working directory, a thread that never ends, a
GPU context, gigabytes of weights) ends with the process. The answer is one line of JSON on the inherited
descriptor RESULT.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vla_bench import start
from vla_bench.envs.errors import UserError
from vla_bench.envs.simulation import EnvironmentSpec, environment_spec
from vla_bench.lifeline import tie
from vla_bench.policies.base import PolicySpec, spec_from_plain
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.identity import opened
from vla_bench.policies.identity.content import Content, Parts, SpokenProgress, parts_of, read_content
from vla_bench.policies.registry import BUILT_IN, Choice, describe_policy, find_policy

WAIT_SECONDS = 300.0
"""What a policy gets to be imported and built."""
PATIENCE_SECONDS = 2.0
"""Of building it, after which is said what goes on."""
LONG_SECONDS = 10.0
"""Of building it, after which is said how to do without."""
LOG_TAIL = 2000
"""Characters of what it printed that go into an error."""


@dataclass(frozen=True, slots=True)
class Specification:
    """What is known of a policy before a worker exists."""

    spec: PolicySpec
    content: Content
    output: str = ""
    """What it printed on the way."""


@dataclass(frozen=True, slots=True)
class _Asked:
    target: str
    arguments: Mapping[str, Any]


def ask_policy(
    choice: Choice,
    family: str,
    options: Mapping[str, Any],
    *,
    left_out: Path | None = None,
    seconds: float = WAIT_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> Specification:
    """What the policy needs, checked against the environment, and the digests of its code and files.

    A policy of the user's own is asked in a process that is thrown away, one of this package here.

    Args:
        family, options: the environment's, as for :func:`vla_bench.envs.simulation.environment_spec`.
        left_out: a folder whose files are not the policy's (the results).
        seconds: what importing and building it may take.
        environment: further variables of that process.

    Raises:
        PolicyError: as :func:`vla_bench.policies.registry.describe_policy`; or the process died or hung.
    """
    where = environment_spec(family, options)
    if choice.target in BUILT_IN or not ("." in choice.target or ":" in choice.target):
        factory = find_policy(choice.target, where)  # an unknown word ends here
        if choice.target in BUILT_IN:
            spec = describe_policy(choice, where)
            parts = parts_of(factory, choice.arguments, ours=True, stated=spec.files, left_out=left_out)
            return Specification(spec, _read(parts))
    asked = {
        "target": choice.target,
        "arguments": dict(choice.arguments),
        "family": family,
        "options": dict(options),
        "left_out": None if left_out is None else str(left_out),
    }
    try:
        text = json.dumps(asked)
    except TypeError as error:
        raise PolicyError(f"the arguments of policy {choice.target!r} must be plain data: {error}") from None
    told, output = _in_a_process(choice.target, text, seconds, environment or {})
    if "error" in told:
        raise PolicyError(told["error"])
    parts = Parts(**{**told["parts"], "uncompared": tuple(told["parts"]["uncompared"])})
    return Specification(spec_from_plain(told["spec"]), _read(parts), output)


def _read(parts: Parts) -> Content:
    speaking = SpokenProgress()
    try:
        return read_content(parts, speaking)
    finally:
        speaking.end()


def policy_parts(
    choice: Choice,
    environment: EnvironmentSpec,
    spec: PolicySpec,
    loaded_before: set[str] | None,
    left_out: Path | None,
) -> Parts:
    """What the policy is made of, in a process that has imported it."""
    factory = find_policy(choice.target, environment)
    return parts_of(
        factory,
        choice.arguments,
        ours=choice.target in BUILT_IN,
        stated=spec.files,
        loaded_before=loaded_before,
        opened=opened.files_opened(),
        left_out=left_out,
    )


def _in_a_process(target: str, asked: str, seconds: float, variables: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    reading, writing = os.pipe()
    tied, lifeline = os.pipe()
    with tempfile.TemporaryFile("w+b") as log, open(reading, "rb", buffering=0) as result, open(lifeline, "wb"):
        try:
            process = subprocess.Popen(
                start.command("vla_bench.policies.specification", writing),
                pass_fds=(writing, tied),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1", **variables},
                start_new_session=True,  # whatever it starts is ended with it
            )
            tie(tied, -process.pid)  # and with us
        finally:
            os.close(writing)
            os.close(tied)
        try:
            assert process.stdin is not None
            with contextlib.suppress(OSError), process.stdin:
                process.stdin.write(asked.encode())
            line = _line(result, process, seconds, _SpokenWait(target))
        finally:
            ended = process.poll()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output = _text(log)
    if line is None:
        raise PolicyError(
            f"policy {target!r} was not built within {seconds:g} s (run.start_deadline){_last_said(output)}"
        )
    if not line:
        how = f"exited with code {ended}" if ended is None or ended >= 0 else f"was killed by {_signal(-ended)}"
        raise PolicyError(f"policy {target!r} {how} while it was being built{_last_said(output)}")
    return json.loads(line), output


class _SpokenWait:
    """Says on standard error that the policy is being built, and for how long, when that takes a while."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._began = time.monotonic()
        self._next = self._began + PATIENCE_SECONDS
        self._spoke = False

    def look(self) -> None:
        """Speaks when it is time to."""
        if (now := time.monotonic()) < self._next:
            return
        terminal = sys.stderr.isatty()
        self._next = now + (1.0 if terminal else 10.0)
        self._spoke = True
        text = f"building {self._target} to ask what it needs: {now - self._began:.0f} s"
        print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Takes the line away, and says how to do without when it took long."""
        if self._spoke and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        if (took := time.monotonic() - self._began) > LONG_SECONDS:
            print(
                f"note: it took {took:.0f} s to build {self._target} only to ask what it needs, and workers build it "
                "again; a classmethod describe() that returns its PolicySpec saves that (docs/identity.md)",
                file=sys.stderr,
                flush=True,
            )


def _line(result: IO[bytes], process: subprocess.Popen[bytes], seconds: float, waiting: _SpokenWait) -> bytes | None:
    """What was answered; empty when the process ended without, None when the time is up."""
    deadline, heard = time.monotonic() + seconds, b""
    poll = select.poll()
    poll.register(result, select.POLLIN)
    while not heard.endswith(b"\n"):
        waiting.look()
        over = process.poll() is not None
        if poll.poll(100 if not over else 0):
            piece = result.read(1 << 16)
            if not piece:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(5)
                return b""
            heard += piece
        elif over:
            return b""
        elif time.monotonic() > deadline:
            return None
    waiting.end()
    return heard


def _text(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read(1 << 20).decode(errors="replace")


def _last_said(output: str) -> str:
    said = output.strip()[-LOG_TAIL:]
    return f". It last printed:\n{said}" if said else ""


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"{name} (out of memory?)" if name == "SIGKILL" else name


def main() -> None:
    """Runs the process."""
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    sys.argv[:] = sys.argv[:1]  # a policy that reads the command line finds nothing of ours
    asked = json.load(sys.stdin)
    choice = _Asked(asked["target"], asked["arguments"])
    there = os.getcwd()
    try:
        told = _answer(choice, environment_spec(asked["family"], asked["options"]), asked, there)
    except UserError as error:
        told = {"error": str(error)}
        traceback.print_exc()
    except Exception as error:
        told = {"error": f"policy {choice.target!r} could not be described: {type(error).__name__}: {error}"}
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    with open(descriptor, "wb") as result:
        result.write(json.dumps(told).encode() + b"\n")
    os._exit(0)  # past threads that never end


def _answer(choice: Choice, environment: EnvironmentSpec, asked: Mapping[str, Any], there: str) -> dict[str, Any]:
    before = set(sys.modules)
    opened.watch()
    spec = describe_policy(choice, environment)
    os.chdir(there)  # a policy may have gone elsewhere
    left_out = None if asked["left_out"] is None else Path(asked["left_out"])
    parts = policy_parts(choice, environment, spec, before, left_out)
    plain = dataclasses.replace(spec, switches=dict(spec.switches), files=dict(spec.files))
    return {"spec": dataclasses.asdict(plain), "parts": dataclasses.asdict(parts)}


if __name__ == "__main__":
    main()
