"""Lists the parts of ``vla_bench`` and their data; everything else about the package is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
CODE = ("bench", "policies", "envs")
DATA = ("configs", "results/published")


def data_of(part: str) -> list[str]:
    """What lies in and below a part beside its modules: scenes, templates, presets, tables."""
    files = (path for path in (ROOT / part).rglob("*") if path.is_file())
    return [str(path.relative_to(ROOT / part)) for path in files if path.suffix not in (".py", ".pyc")]


names = {part: ".".join(["vla_bench", *Path(part).parts]) for part in (*CODE, *DATA)}
packages = ["vla_bench", *names.values()]
for part in CODE:
    packages += [f"vla_bench.{part}.{name}" for name in find_packages(part)]

setup(
    packages=packages,
    package_data={"vla_bench": ["py.typed"], **{names[part]: data_of(part) for part in names}},
)
