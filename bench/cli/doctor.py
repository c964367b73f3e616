"""Looks at what evaluations need on this machine, and says what to type where something is missing.

vla-bench doctor                   what is here, what is not
vla-bench doctor --fetch-vulkan    brings a software Vulkan driver into the cache, no root needed
"""

from __future__ import annotations

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the one option."""
    parser.add_argument(
        "--fetch-vulkan",
        action="store_true",
        help="fetch Mesa's software driver from Debian (11 MB) into the cache; installs nothing",
    )


def run(arguments: argparse.Namespace) -> int:
    """Exit code 1 when no evaluation would work here; what only some of them need may be missing."""
    if arguments.fetch_vulkan:
        from vla_bench.envs.simpler.software_vulkan import fetch_software_vulkan

        print(f"software Vulkan driver: {fetch_software_vulkan()}")
        return 0
    from vla_bench.bench.machine.doctor import cores, findings

    print(cores())
    broken = 0
    for finding in findings():
        mark = "ok" if finding.good else "!!" if finding.needed else "--"
        print(f"{mark}  {finding.what}: {finding.text}", flush=True)
        broken += mark == "!!"
    return 1 if broken else 0
