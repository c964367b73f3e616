"""Makes the environment of the original SimplerEnv: ``python -m vla_bench.envs.simpler.install`` (``make simpler``).

In this order, each step skipped when it is done: a virtual environment with exact versions; both
repositories at pinned commits, from GitHub or from a folder that holds them (``SIMPLER_SOURCES``); the asset
files, unless ``SIMPLER_ASSETS`` names some; a software Vulkan driver where there is no other; the collision
caches of the stages.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from vla_bench import start
from vla_bench.envs.errors import EnvironmentFault, RendererError, UserError
from vla_bench.envs.simpler import assets, vulkan

SOURCES_VARIABLE = "SIMPLER_SOURCES"
REQUIREMENTS = Path(__file__).with_name("requirements-original.txt")
THIRD_PARTY = Path("third_party")


@dataclass(frozen=True, slots=True)
class Source:
    """A repository at a commit."""

    name: str
    commit: str
    needed: tuple[str, ...]
    """Paths that are installed; the rest is large and stays away."""

    @property
    def address(self) -> str:
        """On GitHub, or below the folder of :data:`SOURCES_VARIABLE`: a checkout or a bare repository."""
        named = os.environ.get(SOURCES_VARIABLE)
        if not named:
            return f"https://github.com/simpler-env/{self.name}"
        folder = Path(named).expanduser().resolve()
        for place in (folder / self.name, folder / f"{self.name}.git"):
            if place.is_dir():
                return str(place)
        raise EnvironmentFault(f"{SOURCES_VARIABLE} names {folder}, which has no {self.name}")


ENVIRONMENTS = Source(
    "ManiSkill2_real2sim",
    assets.COMMIT,
    (
        *("setup.py", "README.md", "requirements.txt", "LICENSE", "mani_skill2_real2sim/*.py"),
        *(f"mani_skill2_real2sim/{each}" for each in ("agents", "envs", "sensors", "utils")),
        "mani_skill2_real2sim/assets/descriptions",
    ),
)
EVALUATION = Source(
    "SimplerEnv",
    "4ab7178e83e84ee06894034ec6dbf9e7aad1e882",
    ("setup.py", "README.md", "LICENSE", "simpler_env"),
)


def install(folder: Path) -> None:
    """Brings everything to where it belongs; UserError says what could not be had."""
    _environment(folder)
    python = folder / "bin" / "python"
    for source in (ENVIRONMENTS, EVALUATION):
        checkout = _checkout(source, source.needed)
        _run(
            [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", str(checkout)],
            f"install {source.name}",
        )
    _assets()
    _vulkan()
    stages = sorted((assets.asset_folder() / assets.STAGES).glob("*.glb"))
    cold = [stage for stage in stages if not Path(f"{stage}{assets.CACHE_SUFFIX}").is_file()]
    if cold and os.access(cold[0].parent, os.W_OK):
        print(f"making the collision caches of {len(cold)} stages")
        _run(start.command("vla_bench.envs.simpler.warm", *cold, python=python), "load the stages")
    print(f"ready: {python}")


def _environment(folder: Path) -> None:
    wanted = REQUIREMENTS.read_text(encoding="utf-8")
    done = folder / ".installed"
    if done.is_file() and done.read_text(encoding="utf-8") == wanted:
        return
    if sys.version_info[:2] != (3, 11):
        raise EnvironmentFault(
            f"sapien 2.2.2 needs Python 3.11 here, and this is {sys.version.split()[0]}; type: make simpler "
            "PYTHON=python3.11"
        )
    print(f"installing sapien 2.2.2 and what it needs into {folder}")
    _run([sys.executable, "-m", "venv", str(folder)], f"make {folder}")
    pip = [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--requirement", str(REQUIREMENTS)], "install the pinned packages")
    done.write_text(wanted, encoding="utf-8")


def _checkout(source: Source, paths: tuple[str, ...]) -> Path:
    """The paths of the repository at its commit, below ``third_party``."""
    folder = THIRD_PARTY / source.name
    mark = folder / ".git" / f"checked-out-{len(paths)}"
    if mark.is_file() and mark.read_text() == source.commit:
        return folder
    if not shutil.which("git"):
        raise EnvironmentFault("git is not installed; on Debian or Ubuntu: apt-get install git")
    if not (folder / ".git").is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching {source.address} at {source.commit[:7]}")
        # without --filter the history alone is 300 MB
        command = [
            "git",
            "clone",
            "--quiet",
            "--no-checkout",
            "--filter=blob:none",
            source.address,
            str(folder),
        ]
        _run(command, f"clone {source.address}")
    _run(
        ["git", "-C", str(folder), "checkout", "--quiet", source.commit, "--", *paths],
        f"check out {source.name}",
    )
    mark.write_text(source.commit)
    return folder


def _assets() -> None:
    try:
        print(f"asset files: {assets.asset_folder()}")
    except UserError:
        if os.environ.get(assets.VARIABLE) or os.environ.get(assets.ORIGINAL_VARIABLE):
            raise
        checkout = _checkout(ENVIRONMENTS, ("data",))
        print(f"asset files: {checkout / 'data'}")


def _vulkan() -> None:
    try:
        device = vulkan.probe(vulkan.settings(2))
        vulkan.check(device)
    except RendererError:
        from vla_bench.envs.simpler.software_vulkan import fetch_software_vulkan

        print("no usable Vulkan driver; fetching Mesa's software driver")
        fetch_software_vulkan()
        device = vulkan.probe(vulkan.settings(2))
        vulkan.check(device)
    print(f"Vulkan: {device.name}, {device.driver}")


def _run(command: list[str | Path], what: str) -> None:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()[-4:]
        raise EnvironmentFault(f"could not {what}: " + " / ".join(lines))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vla_bench.envs.simpler.install", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--to", type=Path, default=Path(".venv-simpler"), help="virtual environment to make")
    try:
        install(parser.parse_args().to.absolute())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
