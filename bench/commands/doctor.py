"""Looks at what SimplerEnv needs on this machine, and says what to type where something is missing.

python -m bench doctor                   what is here, what is not
python -m bench doctor --fetch-vulkan    brings a software Vulkan driver into the cache, no root needed
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
    """Exit code 0, also when something is missing: nobody needs everything."""
    if arguments.fetch_vulkan:
        from envs.simpler.software_vulkan import fetch_software_vulkan

        print(f"software Vulkan driver: {fetch_software_vulkan()}")
        return 0
    from bench.doctor import cores, findings

    print(cores())
    for finding in findings():
        print(f"{'ok' if finding.good else '--'}  {finding.what}: {finding.text}")
    return 0
