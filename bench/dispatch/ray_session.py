"""Connects this process to Ray: to one that is started here and stopped again, or to a cluster.

Whatever Ray says of a failure is told with what can be mended: a folder, a variable, an address.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import shutil
import socket
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vla_bench import start
from vla_bench.bench.errors import ConfigError, RunFailed
from vla_bench.bench.stopping import handlers_kept
from vla_bench.program import is_checkout, program

KNOCK_SECONDS = 5.0
"""What the head of a cluster gets to accept a connection."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Of a Ray started here; episodes and records are small."""
LONGEST_SOCKET_PATH = 107
"""Bytes of a Unix socket's path on Linux."""
NO_STACKS = "RAY_DISABLE_FAILURE_SIGNAL_HANDLER"
"""Variable that Ray's native code reads when a process connects (2.60)."""
_LONGEST_SOCKET_NAME = len("/session_2026-01-01_00-00-00_000000_4194304/sockets/plasma_store")
_QUIET: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}


def start_here(workers: int) -> Path:
    """Starts Ray on this machine with a CPU for each worker, and returns the folder of its session.

    Raises:
        ConfigError: a folder or variable that Ray needs is not fit for it.
        RunFailed: it did not start for another reason.
    """
    import ray

    folder = _own_folder()
    _check_folders(folder)
    sweep(folder)
    try:
        with handlers_kept(), _environment_kept(), _found_by_workers():
            context = ray.init(
                address="local",
                num_cpus=workers,
                include_dashboard=False,
                object_store_memory=OBJECT_STORE_BYTES,
                _temp_dir=str(folder),
                **_QUIET,
            )
    except Exception as error:  # Ray raises that very class when the machine is too busy for it
        ray.shutdown()
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise RunFailed(
            f"Ray did not start on this machine: {reason}. Type the same command again, or "
            f"run.backend=local, which does without; {program()} doctor says what may be missing"
        ) from error
    return Path(context.address_info["session_dir"])


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Leaves the environment as it was, but has Ray's native code install no handler that prints a stack when a signal
    comes while it starts. Ray also turns ``breakpoint()`` into its own, for this process and its children, which fails
    once Ray is gone."""
    mine = ("PYTHONBREAKPOINT", NO_STACKS)
    before = {name: os.environ.get(name) for name in mine}
    os.environ[NO_STACKS] = "1"
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _check_folders(folder: Path) -> None:
    room = LONGEST_SOCKET_PATH - _LONGEST_SOCKET_NAME - len(f"/{folder.name}")
    if len(os.fsencode(folder)) > LONGEST_SOCKET_PATH - _LONGEST_SOCKET_NAME:
        raise ConfigError(
            f"RAY_TMPDIR={folder.parent} is too long: Ray puts sockets below it, whose paths may have "
            f"{LONGEST_SOCKET_PATH} bytes. Set RAY_TMPDIR to a folder of at most {room} bytes, such as /tmp"
        )
    if not _writable(folder if folder.is_dir() else folder.parent):
        raise ConfigError(f"Ray cannot write to {folder.parent}; set RAY_TMPDIR to a folder that you may write to")
    home = Path.home()
    if not _writable(home / ".ray" if (home / ".ray").is_dir() else home):
        raise ConfigError(
            f"Ray keeps files in {home / '.ray'}, and HOME={home} is not a folder that you may write to; "
            "set HOME to one, e.g. HOME=/tmp/home, or type run.backend=local"
        )


def _writable(folder: Path) -> bool:
    """Asked of the folder itself: root may write where there is nothing to write to, as in /proc."""
    try:
        probe = folder / f".vla-bench-{os.getpid()}"
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


def join(address: str) -> None:
    """Joins a cluster. ConfigError: it cannot be reached, with what to type instead."""
    import ray

    if address.startswith(("http://", "https://")):
        host = address.partition("://")[2].partition("/")[0].rpartition(":")[0] or "<host>"
        raise ConfigError(
            f"run.address={address} is the dashboard of a Ray cluster, which takes no workers; type "
            f"run.address={host}:6379 on a machine of the cluster (or run.address=auto), "
            f"run.address=ray://{host}:10001 from elsewhere"
        )

    def refuse(error: Exception, advice: str) -> ConfigError:
        reason = str(error).splitlines()[0].rstrip(".")
        return ConfigError(f"cannot join the Ray cluster run.address={address}: {reason}. {advice}")

    # Ray itself would take minutes to say that nobody listens there.
    host, separator, port = address.removeprefix("ray://").rpartition(":")
    if separator and port.isdigit():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
        except OSError as error:
            raise refuse(error, "Start one with 'ray start --head', or leave run.address out.") from None
    options = dict(_QUIET)
    if is_checkout():  # which on the other machines is at the same place, or else installed
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": _python_path()}}
    try:
        with handlers_kept(), _environment_kept():
            ray.init(address=address, **options)
    except (OSError, ValueError, RuntimeError) as error:
        advice = "If one runs there with token authentication, set RAY_AUTH_MODE=token; else start one with "
        raise refuse(error, advice + "'ray start --head', or leave run.address out.") from None


def _python_path() -> str:
    return os.pathsep.join(filter(None, (start.import_path(), os.environ.get("PYTHONPATH"))))


@contextlib.contextmanager
def _found_by_workers() -> Iterator[None]:
    """What Ray starts here inherits a path on which it finds this package, also in a checkout that nobody installed."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = _python_path()
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def import_quietly() -> None:
    """Imports Ray, which in a notebook asks for widgets of its own by a warning and a line of log."""
    logging.getLogger("ray.widgets").setLevel(logging.ERROR)
    with warnings.catch_warnings(action="ignore"), _environment_kept():  # which native code reads now
        import ray  # noqa: F401


def _own_folder() -> Path:
    """Where a Ray started here keeps its sockets and logs; short, as socket paths have to be."""
    parent = os.environ.get("RAY_TMPDIR", "/tmp")
    return Path(parent) / f"vla-bench-ray-{os.getuid()}-{platform.node()}"


def sweep(folder: Path) -> None:
    """Removes what drivers that were killed have left, a session's name ending in its driver's pid, and
    the folder with the last session."""
    for session in folder.glob("session_*_*"):
        try:
            os.kill(int(session.name.rpartition("_")[2]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(session, ignore_errors=True)
        except PermissionError:
            pass
    if not any(folder.glob("session_*_*")):
        shutil.rmtree(folder, ignore_errors=True)
