"""Asks a policy what it needs and what it is made of, in a process of its own.

``python -m vla_bench.policies.specification RESULT`` imports the user's module and builds the policy if that is
the only way to know its needs. What that leaves behind (another working directory, a thread that never ends, a
GPU context, gigabytes of weights) never reaches the process that asks. The answer is one line of JSON on the
inherited descriptor RESULT. Then the process ends, or is kept and becomes a worker (:mod:`vla_bench.policies.kept`),
so that nothing is loaded only to be asked.
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
from vla_bench.policies.errors import PolicyError, in_words
from vla_bench.policies.identity import opened
from vla_bench.policies.identity.content import Content, Parts, SpokenProgress, parts_of, read_content
from vla_bench.policies.identity.sources import digests_as_loaded, source_files
from vla_bench.policies.kept import Asked, Kept, Offer, new_address
from vla_bench.policies.registry import BUILT_IN, Choice, describe_or_make, describe_policy, find_policy

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
    kept: Kept | None = None
    """The process that has built it, when it waits to be claimed; release it."""
    built: Asked | None = None
    """The policy itself, when it was built in this process; close it."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    target: str
    arguments: Mapping[str, Any]


def ask_policy(
    choice: Choice,
    family: str,
    options: Mapping[str, Any],
    *,
    left_out: Path | None = None,
    seconds: float = WAIT_SECONDS,
    keep: bool = False,
    here: bool = False,
) -> Specification:
    """What the policy needs, checked against the environment, and the digests of its code and files.

    A policy of the user's own is asked in a process of its own, one of this package here.

    Args:
        family, options: the environment's, as for :func:`vla_bench.envs.simulation.environment_spec`.
        left_out: a folder whose files are not the policy's (the results).
        seconds: what importing and building it may take.
        keep: whether that process is kept for a worker or a policy server of this machine.
        here: ask it in this process, and keep it: for debugging.

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
    if here:
        return _ask_here(choice, where, left_out)
    address = new_address() if keep else ""
    asked = {
        "target": choice.target,
        "arguments": dict(choice.arguments),
        "family": family,
        "options": dict(options),
        "left_out": None if left_out is None else str(left_out),
        "address": address,
    }
    try:
        text = json.dumps(asked)
    except TypeError as error:
        raise PolicyError(f"the arguments of policy {choice.target!r} must be plain data: {error}") from None
    told, output, kept = _in_a_process(choice.target, text, seconds, address)
    if "error" in told:
        raise PolicyError(told["error"])
    parts = Parts(**{**told["parts"], "uncompared": tuple(told["parts"]["uncompared"])})
    try:
        return Specification(spec_from_plain(told["spec"]), _read(parts), output, kept)
    except BaseException:
        if kept is not None:
            kept.release()
        raise


def _ask_here(choice: Choice, where: EnvironmentSpec, left_out: Path | None) -> Specification:
    there = os.getcwd()
    try:
        spec, parts, built = _asked(choice, where, left_out, there)
    except UserError:
        raise
    except Exception as error:
        raise PolicyError(_undescribed(choice.target, error)) from error
    finally:
        os.chdir(there)
    return Specification(spec, _read(parts), built=built)


def _undescribed(target: str, error: BaseException) -> str:
    return f"policy {target!r} could not be described: {in_words(error)}"


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
    folder: str,
) -> Parts:
    """What the policy is made of, in a process that has imported it; its paths are seen from ``folder``, wherever the
    policy has gone."""
    gone = os.getcwd()
    os.chdir(folder)
    try:
        factory = find_policy(choice.target, environment)
        return parts_of(
            factory,
            choice.arguments,
            ours=choice.target in BUILT_IN,
            stated=spec.files,
            loaded_before=loaded_before,
            opened=opened.files_opened(),
            written=opened.files_written(),
            left_out=left_out,
        )
    finally:
        os.chdir(gone)


def _in_a_process(target: str, asked: str, seconds: float, address: str) -> tuple[dict[str, Any], str, Kept | None]:
    """What it answered and printed, and the process itself, when it is to be kept."""
    reading, writing = os.pipe()
    tied, life = os.pipe()
    lifeline, kept = open(life, "wb"), None  # noqa: SIM115 - as long as the process is there
    with tempfile.TemporaryFile("w+b") as log, open(reading, "rb", buffering=0) as result:
        try:
            process = subprocess.Popen(
                start.command("vla_bench.policies.specification", writing),
                pass_fds=(writing, tied),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=start.simulation_environment(),  # a worker's, since it may become one
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
            line = _line(result, process, seconds, _SpokenWait(target, again=not address))
            if line and json.loads(line).get("kept"):
                kept = Kept(process, lifeline, address)
        finally:
            ended = process.poll()
            if kept is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                lifeline.close()
        output = _text(log)
    if line is None:
        raise PolicyError(
            f"policy {target!r} was not built within {seconds:g} s (run.start_deadline){_last_said(output)}"
        )
    if not line:
        how = f"exited with code {ended}" if ended is None or ended >= 0 else f"was killed by {_signal(-ended)}"
        raise PolicyError(f"policy {target!r} {how} while it was being built{_last_said(output)}")
    return json.loads(line), output, kept


class _SpokenWait:
    """Says on standard error that the policy is being built, and for how long, when that takes a while.

    ``again``: whether workers build it once more.
    """

    def __init__(self, target: str, *, again: bool) -> None:
        self._target = target
        self._again = again
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
        why = " to ask what it needs" if self._again else ""
        text = f"building {self._target}{why}: {now - self._began:.0f} s"
        print(f"\r\x1b[K{text}" if terminal else text, end="" if terminal else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Takes the line away, and says how to do without when it took long."""
        if self._spoke and sys.stderr.isatty():
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        if self._again and (took := time.monotonic() - self._began) > LONG_SECONDS:
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the asking process's to answer
    choice = _Chosen(asked["target"], asked["arguments"])
    left_out = None if asked["left_out"] is None else Path(asked["left_out"])
    offer: Offer | None = None
    built: Asked | None = None
    try:
        spec, parts, built = _asked(choice, environment_spec(asked["family"], asked["options"]), left_out, os.getcwd())
        if asked["address"] and built is not None:
            offer = Offer(asked["address"])
        else:
            _close(choice, built)
        plain = dataclasses.replace(spec, switches=dict(spec.switches), files=dict(spec.files))
        told = {"spec": dataclasses.asdict(plain), "parts": dataclasses.asdict(parts), "kept": offer is not None}
    except UserError as error:
        told = {"error": str(error)}
        traceback.print_exc()
    except Exception as error:
        told = {"error": _undescribed(choice.target, error)}
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    with open(descriptor, "wb") as result:
        result.write(json.dumps(told).encode() + b"\n")
    if offer is None or built is None or "error" in told:
        os._exit(0)  # past threads that never end
    offer.wait(built)


def _asked(
    choice: Choice, environment: EnvironmentSpec, left_out: Path | None, there: str
) -> tuple[PolicySpec, Parts, Asked | None]:
    """What it needs and is made of, and itself, where it had to be built; the process is ``there`` afterwards."""
    before = set(sys.modules)
    opened.watch()
    # What was imported counts, whatever is edited while the policy is built.
    digests_as_loaded(source_files(find_policy(choice.target, environment), before).values())
    spec, policy = describe_or_make(choice, environment)
    gone = os.getcwd()
    os.chdir(there)  # a policy may have gone elsewhere
    parts = policy_parts(choice, environment, spec, before, left_out, there)
    return spec, parts, None if policy is None else Asked(policy, frozenset(before), gone)


def _close(choice: Choice, built: Asked | None) -> None:
    if built is None:
        return
    try:
        built.policy.close()
    except BaseException as error:
        raise PolicyError(f"policy {choice.target!r} could not be closed: {in_words(error)}") from error


if __name__ == "__main__":
    main()
