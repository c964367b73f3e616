"""Writes the bundle: ``python -m vla_bench.envs.calvin.builtin.generate [folder]``.

Without a folder it rewrites the files shipped with the package.
"""

from __future__ import annotations

import sys
from pathlib import Path

from vla_bench.envs.calvin.builtin import ASSETS, textures
from vla_bench.envs.calvin.builtin.blocks import block_files
from vla_bench.envs.calvin.builtin.instructions import instruction_file
from vla_bench.envs.calvin.builtin.layouts import LAYOUTS
from vla_bench.envs.calvin.builtin.panda import panda_files
from vla_bench.envs.calvin.builtin.plane import plane_files
from vla_bench.envs.calvin.builtin.table import table_files


def bundle_files() -> dict[str, bytes]:
    """The content of every file by path below the bundle's folder."""
    texts = block_files() | plane_files() | panda_files()
    for scene, layout in LAYOUTS.items():
        texts |= table_files(scene, layout)
    files = {f"data/{path}": text.encode() for path, text in texts.items()}
    drawn = {wood.name: textures.wood(wood) for layout in LAYOUTS.values() for wood in layout.woods}
    for scene, layout in LAYOUTS.items():
        for wood in layout.woods:
            files[f"data/calvin_table_{scene}/textures/{wood.name}.png"] = drawn[wood.name]
    files["data/plane/checker.png"] = textures.checker()
    files["annotations/new_playtable_validation.yaml"] = instruction_file().encode()
    return files


def write_bundle(folder: Path) -> int:
    """Writes all files below ``folder`` and returns how many bytes.

    Raises:
        SystemExit: when the folder cannot be one, or holds assets that were not generated.
    """
    if folder.exists() and not folder.is_dir():
        raise SystemExit(f"{folder} is a file; name a folder to write the bundle to")
    plane = folder / "data" / "plane" / "plane.urdf"
    if plane.is_file() and "envs.calvin.builtin" not in plane.read_text(encoding="utf-8", errors="replace"):
        raise SystemExit(f"{folder} holds assets of another origin; name another folder")
    files = bundle_files()
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    if folder == ASSETS:
        for path in [path for path in ASSETS.rglob("*") if path.is_file()]:
            if path.relative_to(ASSETS).as_posix() not in files:
                path.unlink()
    return sum(len(content) for content in files.values())


def main(arguments: list[str]) -> None:
    """Command line."""
    if len(arguments) > 1 or any(argument.startswith("-") for argument in arguments):
        raise SystemExit("usage: python -m vla_bench.envs.calvin.builtin.generate [folder]")
    folder = Path(arguments[0]) if arguments else ASSETS
    size = write_bundle(folder)
    print(f"wrote {size / 1e6:.2f} MB to {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
