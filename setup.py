"""Lists the parts of ``vla_bench``; everything else about the package is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
DATA = ("configs", "results/published")

packages = ["vla_bench"]
for part in ("bench", "policies", "envs"):
    packages += [f"vla_bench.{part}", *(f"vla_bench.{part}.{name}" for name in find_packages(part))]
for part in DATA:
    folders = [ROOT / part, *(path for path in (ROOT / part).rglob("*") if path.is_dir())]
    packages += [".".join(["vla_bench", *folder.relative_to(ROOT).parts]) for folder in folders]

setup(packages=packages)
