"""Fetches a software Vulkan driver (Mesa's lavapipe) from Debian into a folder of the user's.

Nothing is installed: the packages are downloaded, checked by apt against Debian's keys, and unpacked, so
that no root is needed and the system's own Mesa, which other renderers were recorded with, stays as it is.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from vla_bench.envs.errors import RendererError
from vla_bench.envs.simpler.vulkan import cache_folder

PACKAGE = "mesa-vulkan-drivers"
BACKPORTS = {"bookworm": "bookworm-backports"}
"""Suites to take the driver from where the release's own is too old."""
KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
MIRROR = "http://deb.debian.org/debian"


def fetch_software_vulkan(folder: Path | None = None) -> Path:
    """Downloads and unpacks the driver; returns its manifest (``VK_DRIVER_FILES``).

    Raises:
        RendererError: this is no Debian, or the packages cannot be had; says what else to do.
    """
    folder = (folder or cache_folder()).absolute()
    release = _release()
    suites = [release, *([BACKPORTS[release]] if release in BACKPORTS else [])]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".vulkan-", dir=folder.parent) as temporary:
        work = Path(temporary)
        _update(work, suites)
        unpacked = work / "unpacked"
        for package in _missing_packages(work, suites[-1]):
            subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True)
        _arrange(unpacked, work / "new", folder)
        if folder.exists():
            shutil.rmtree(folder)
        (work / "new").replace(folder)
    return folder / "lvp_icd.json"


def _release() -> str:
    try:
        text = Path("/etc/os-release").read_text(encoding="utf-8")
    except OSError:
        text = ""
    facts = dict(re.findall(r'^(\w+)="?([^"\n]*)"?$', text, flags=re.MULTILINE))
    if facts.get("ID") != "debian" or not shutil.which("apt-get"):
        raise RendererError(
            f"a software Vulkan driver is fetched on Debian only, not on {facts.get('NAME', 'this')}; "
            "install your distribution's Vulkan driver of Mesa (lavapipe), 23 or newer, and its libvulkan1"
        )
    return facts["VERSION_CODENAME"]


def _apt(work: Path) -> list[str]:
    lists, cache = work / "lists", work / "cache"
    for needed in (lists / "partial", cache / "archives/partial"):
        needed.mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::Etc::sourcelist": work / "debian.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::Lists": lists,
        "Dir::Cache": cache,
        "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
    }
    return [f"-o{name}={value}" for name, value in options.items() if str(value)]


def _update(work: Path, suites: list[str]) -> None:
    signed = f" [signed-by={KEYS}]" if Path(KEYS).is_file() else ""
    lines = [f"deb{signed} {MIRROR} {suite} main" for suite in suites]
    (work / "debian.list").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _run(["apt-get", *_apt(work), "-q", "update"], "the package lists")


def _missing_packages(work: Path, suite: str) -> list[Path]:
    """Downloads the driver and whatever it depends on that is not installed."""
    downloads = work / "packages"
    downloads.mkdir()
    waiting, asked = [PACKAGE], {PACKAGE}
    while waiting:
        name = waiting.pop()
        before = set(downloads.glob("*.deb"))
        _run(["apt-get", *_apt(work), "-q", "-t", suite, "download", name], name, cwd=downloads)
        for package in set(downloads.glob("*.deb")) - before:
            for depended in _depends(package):
                if depended not in asked and not _installed(depended):
                    asked.add(depended)
                    waiting.append(depended)
    return sorted(downloads.glob("*.deb"))


def _depends(package: Path) -> list[str]:
    text = subprocess.run(
        ["dpkg-deb", "-f", str(package), "Depends"], capture_output=True, text=True, check=True
    ).stdout
    return [match for each in text.split(",") if (match := re.split(r"[ (|:]", each.strip())[0])]


def _installed(name: str) -> bool:
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status}", name], capture_output=True, text=True, check=False
    )
    return done.returncode == 0 and "installed" in done.stdout.split()


def _arrange(unpacked: Path, new: Path, final: Path) -> None:
    """Libraries into ``lib``, and a manifest that names the driver by where it is going to be."""
    library = new / "lib"
    library.mkdir(parents=True)
    for file in sorted(unpacked.glob("usr/lib/*/*.so*")) + sorted(unpacked.glob("lib/*/*.so*")):
        shutil.copy2(file, library / file.name, follow_symlinks=False)
    driver = library / "libvulkan_lvp.so"
    if not driver.is_file():
        raise RendererError(f"{PACKAGE} of this release has no lavapipe; install a Vulkan driver by hand")
    manifest = {
        "file_format_version": "1.0.0",
        "ICD": {"api_version": "1.3.0", "library_path": str(final / "lib" / driver.name)},
    }
    (new / "lvp_icd.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def _run(command: list[str], what: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise RendererError(f"apt cannot fetch {what} from {MIRROR} ({last}); is there a network?")
