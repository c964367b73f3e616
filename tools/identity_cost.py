"""What it costs to know a large checkpoint by its content: the first time, and every time after.

python -m tools.identity_cost            7 GB for the digest, 1 GB for the checksums of a torch archive
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

from vla_bench.policies.identity.digests import digest_of


def main() -> None:
    """Prints the seconds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=7.0)
    parser.add_argument("--archive", type=float, default=1.0, help="gigabytes of the torch archive; 0: none")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        path = Path(folder) / "model.safetensors"
        with path.open("wb") as file:  # holes read as zeros: the digest's cost without the disk's
            file.truncate(int(wanted.gigabytes * 1e9))
        time.sleep(2.5)  # a file that has just changed is not remembered
        for what in ("digest, first time", "digest, second time"):
            _timed(f"{what}, {wanted.gigabytes:g} GB", lambda: digest_of(path))
        if wanted.archive:
            _archive(Path(folder) / "model.pt", wanted.archive)


def _archive(path: Path, gigabytes: float) -> None:
    import torch

    from vla_bench.policies.vla.weight_files import check_archive, read_weights

    torch.save({f"layer{n}": torch.zeros(int(gigabytes * 1e9 / 32)) for n in range(8)}, path)
    time.sleep(2.5)
    for what in ("checksums, first time", "checksums, second time"):
        _timed(f"{what}, {gigabytes:g} GB", lambda: check_archive(path))
    _timed(f"reading (mapped), {gigabytes:g} GB", lambda: read_weights(path))


def _timed(what: str, work: object) -> None:
    began, cpu = time.perf_counter(), time.process_time()
    work()  # type: ignore[operator]
    print(f"{what}: {time.perf_counter() - began:.3f} s, {time.process_time() - cpu:.3f} s of CPU")


if __name__ == "__main__":
    main()
