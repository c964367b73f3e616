"""CALVIN's files for ``vla-bench assets``: fetched at a pinned commit, each verified."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vla_bench.bench.families.family import Assets


def _fetch(folder: Path | None, typed: Sequence[str], progress: Callable[[], Any]) -> list[str]:
    from vla_bench.envs.calvin.bundle import ENVIRONMENT_VARIABLE, AssetBundle, official_root
    from vla_bench.envs.calvin.official.fetch import fetch_official
    from vla_bench.envs.calvin.official.manifest import REPOSITORIES
    from vla_bench.envs.calvin.official.sources import sources_of

    root = (folder or official_root()).expanduser().absolute()
    sources = [source for each in typed or ["github"] for source in sources_of(each)]
    with progress() as show:
        fetched = fetch_official(root, sources, show)
    bundle = AssetBundle("official", root)
    if fetched.brought + fetched.resumed == 0:
        lines = [f"nothing to do: all {fetched.kept} files in {root} are as they should be"]
    else:
        parts = (("fetched", fetched.brought), ("resumed", fetched.resumed), ("kept", fetched.kept))
        lines = [f"{', '.join(f'{count} files {what}' for what, count in parts if count)} in {root}"]
    lines += [f"{each.name} at {each.commit[:12]}, {each.licence}" for each in REPOSITORIES]
    lines.append(f"checksum {bundle.checksum}")
    if root.resolve() != official_root().resolve():
        lines.append(f"use it with: export {ENVIRONMENT_VARIABLE}={shlex.quote(str(root))}")
    return lines


def _check() -> str:
    from vla_bench.envs.calvin.bundle import find_bundle
    from vla_bench.envs.calvin.official.manifest import needed_files

    bundle = find_bundle("official")
    return f"{len(needed_files())} files in {bundle.root} are as they should be, checksum {bundle.checksum}"


def _list() -> list[str]:
    from vla_bench.bench.errors import AssetError
    from vla_bench.envs.calvin.bundle import BUNDLES, find_bundle

    lines = []
    for name in BUNDLES:
        try:
            bundle = find_bundle(name)
            lines.append(f"calvin {name:<9} {bundle.checksum}  {bundle.root}")
        except AssetError as error:
            lines.append(f"calvin {name:<9} not usable: {error}")
    return lines


ASSETS = Assets(_fetch, _check, _list, help="CALVIN_ASSETS, else the cache")
