"""What SimplerEnv needs of a machine; part of ``vla-bench doctor``.

Every driver is asked in a child process: a bad one takes that process down, not this one.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from vla_bench.bench.errors import UserError
from vla_bench.bench.families.family import Check
from vla_bench.program import installing


def _vulkan() -> str:
    from vla_bench.envs.simpler import vulkan

    chosen = vulkan.settings(3)
    device = vulkan.probe(chosen)
    vulkan.check(device)
    return f"{device.name}, {device.driver}" + _shown({**chosen, **vulkan.settings(2, device)})


def _shown(variables: dict[str, str]) -> str:
    """Variables that workers set for themselves, for use outside."""
    return "".join(f"\n    export {name}={value}" for name, value in sorted(variables.items()))


def _ray_tracing() -> str:
    from vla_bench.envs.errors import RendererError
    from vla_bench.envs.simpler import vulkan

    if not vulkan.has_denoiser():
        raise RendererError(
            "no OptiX denoiser (libnvoptix.so.1, part of NVIDIA's driver): drawers cannot be path-traced as "
            "in the paper; benchmark.options.allow_rasterised_drawers=true rasterises them and marks the "
            "table"
        )
    return "OptiX is there: drawers are path-traced as in the paper"


def _assets() -> str:
    from vla_bench.envs.simpler.assets import asset_folder, check_assets
    from vla_bench.envs.simpler.grids import SETS

    folder = asset_folder()
    lines = [str(folder)]
    for each in SETS.values():
        try:
            checked = check_assets(each.trials(), folder, caches=False)
        except UserError as error:
            lines.append(f"{each.name}: {error}")
            continue
        differ = f", {len(checked.altered)} files differ from the official ones" if checked.altered else ""
        lines.append(f"{each.name}: {checked.name}{differ}")
    return "\n    ".join(lines)


def _original() -> str:
    from vla_bench.bench.families.simpler_python import find_python

    python = find_python({})
    facts = (
        "import importlib.metadata as m, sys; "
        "print(sys.version.split()[0], *(f'{n} ' + m.version(n) for n in ('sapien', 'numpy', 'gymnasium', "
        "'mani_skill2_real2sim', 'vla-bench')), sep=', ')"
    )
    from vla_bench.envs.errors import EnvironmentFault

    done = subprocess.run([python, "-c", facts], capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        raise EnvironmentFault(f"{python} lacks what the original needs ({last}); type: make simpler")
    found = done.stdout.strip()
    if "numpy 1." not in found:
        raise EnvironmentFault(
            f"{python} has {found}: sapien 2.2.2 crashes with numpy 2 at the first step; type: make simpler"
        )
    return f"{python}: Python {found}"


def _modern() -> str:
    from vla_bench.envs.errors import EnvironmentFault

    if importlib.util.find_spec("mani_skill") is None:
        raise EnvironmentFault(f"not installed in {sys.executable}; type: {installing('simpler')}")
    from vla_bench.envs.simpler.modern import modern_asset_root

    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("mani_skill", "sapien", "torch"))
    return f"{versions}; files in {modern_asset_root()}"


def _on(backend: str) -> Callable[[Any], bool]:
    return lambda benchmark: benchmark.options.backend == backend


CHECKS = (
    Check("Vulkan", _vulkan),
    Check("path tracing", _ray_tracing, meant=lambda benchmark: False),
    Check("SimplerEnv files", _assets),
    Check("original SimplerEnv (backend=simpler_env)", _original, meant=_on("simpler_env")),
    Check("ManiSkill3 (backend=maniskill3)", _modern, meant=_on("maniskill3")),
)
