"""Fetches, checks and lists the files that scenes are made of.

vla-bench assets fetch FAMILY                      from GitHub into the cache
vla-bench assets fetch FAMILY --from FOLDER --from FOLDER
                                                   from checkouts, no network
vla-bench assets fetch FAMILY --from https://git.example.org/repository.git
                                                   from a mirror
vla-bench assets fetch checkpoint NAME --to checkpoints
                                                   a published checkpoint, or owner/repository/file
vla-bench assets check FAMILY                      every file against its checksum
vla-bench assets list                              what is here, and where
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bench.program import installing, program

if TYPE_CHECKING:
    from vla_bench.bench.families.family import Assets

CHECKPOINT = "checkpoint"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the three actions."""
    known = _known()
    families = ", ".join(known)
    actions = parser.add_subparsers(dest="action", metavar="fetch | check | list", required=True)
    fetch = actions.add_parser("fetch", help="bring the official files here, each verified")
    fetch.add_argument("family", choices=(*known, CHECKPOINT), help=f"{families}, or {CHECKPOINT} <name>")
    fetch.add_argument(
        "name", nargs="?", help="of a checkpoint: published by RoboVLMs, or owner/repository/file of a hub"
    )
    fetch.add_argument("--revision", help="of the hub's repository: branch, tag or commit")
    fetch.add_argument(
        "--from",
        dest="sources",
        action="append",
        metavar="SOURCE",
        help="a folder (checkout or bundle), .tar.gz, git URL, or github (default); may be given again",
    )
    places = "; ".join(f"of {name} {assets.help}" for name, assets in known.items())
    fetch.add_argument("--to", type=Path, metavar="FOLDER", help=f"default: {places}")
    check = actions.add_parser("check", help="compare every file with its checksum")
    check.add_argument("family", choices=tuple(known), help=families)
    actions.add_parser("list", help="bundles on this machine")


def _known() -> dict[str, Assets]:
    from vla_bench.bench.families import families

    return {family.name: family.assets for family in families() if family.assets is not None}


def run(arguments: argparse.Namespace) -> int:
    """Answers one action."""
    if arguments.action == "list":
        for assets in _known().values():
            print(*assets.list(), sep="\n")
    elif arguments.action == "check":
        print(_known()[arguments.family].check())
    else:
        return _fetch(arguments)
    return 0


def _fetch(arguments: argparse.Namespace) -> int:
    from vla_bench.bench.errors import ConfigError

    if arguments.family == CHECKPOINT:
        return _fetch_checkpoint(arguments)
    if arguments.name or arguments.revision:
        raise ConfigError(f"a name and --revision are a checkpoint's: {program()} assets fetch checkpoint <name>")
    assets = _known()[arguments.family]
    print(*assets.fetch(arguments.to, arguments.sources or (), _progress), sep="\n")
    return 0


def _fetch_checkpoint(arguments: argparse.Namespace) -> int:
    from vla_bench.bench.errors import AssetError, ConfigError
    from vla_bench.policies.vla.released import PUBLISHED, fetch_checkpoint

    if not arguments.name:
        raise ConfigError(
            f"say which checkpoint: {', '.join(PUBLISHED)}, or any file of a hub as owner/repository/path"
        )
    if arguments.sources:
        raise ConfigError("--from is for a benchmark's files; another hub is named by HF_ENDPOINT")
    try:
        fetched = fetch_checkpoint(
            arguments.name,
            (arguments.to or Path("checkpoints")).expanduser().absolute(),
            revision=arguments.revision,
        )
    except ModuleNotFoundError as error:
        raise AssetError(f"fetching needs the package {error.name}; type {installing('vla')}") from error
    how = "verified" if fetched.verified else "which the hub does not state, so it was not verified"
    print(f"{fetched.path}, {fetched.size / 1e6:.1f} MB, revision {fetched.commit[:12]}")
    print(f"sha256 {fetched.sha256}, {how}")
    print(f"what it is: {program()} describe {shlex.quote(str(fetched.path))}")
    return 0


class _progress:
    """Shows verified bytes and the time left: one live line on a terminal, else a line now and then."""

    INTERVAL = 5.0
    """Seconds between two plain lines."""

    def __enter__(self) -> _progress:
        self._started = self._shown = time.monotonic()
        self._first = -1
        self._live = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._written = False
        return self

    def __exit__(self, *_: object) -> None:
        if self._written and self._live:
            print(file=sys.stderr)

    def __call__(self, source: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._first < 0:
            self._first = done
            print(f"fetching {(total - done) / 1e6:.1f} MB from {source}", file=sys.stderr)
        if now - self._shown < (0.1 if self._live else self.INTERVAL) and done < total:
            return
        self._shown, self._written = now, True
        speed = (done - self._first) / max(now - self._started, 1e-9)
        left = f", {(total - done) / speed:.0f} s left" if speed and done < total else ""
        line = f"{done / total:4.0%}  {done / 1e6:.1f} of {total / 1e6:.1f} MB  {speed / 1e6:.1f} MB/s{left}"
        if self._live:
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr)
