"""Writes the bundle: ``python -m envs.calvin.builtin.generate [folder]``.

Without a folder it rewrites the files shipped with the package.
"""

from __future__ import annotations

import sys
from pathlib import Path

from envs.calvin.builtin import ASSETS, textures
from envs.calvin.builtin.blocks import block_files
from envs.calvin.builtin.instructions import instruction_file
from envs.calvin.builtin.layouts import LAYOUTS
from envs.calvin.builtin.panda import panda_files
from envs.calvin.builtin.plane import plane_files
from envs.calvin.builtin.table import table_files


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
    """Writes all files below ``folder``, removes others there that a bundle could hold, returns the bytes."""
    files = bundle_files()
    for part in ("data", "annotations"):
        for stale in sorted((folder / part).rglob("*")):
            if stale.is_file() and str(stale.relative_to(folder)) not in files:
                stale.unlink()
    for path, content in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return sum(len(content) for content in files.values())


def main(arguments: list[str]) -> None:
    """Command line."""
    folder = Path(arguments[0]) if arguments else ASSETS
    size = write_bundle(folder)
    print(f"wrote {size / 1e6:.2f} MB to {folder}")


if __name__ == "__main__":
    main(sys.argv[1:])
