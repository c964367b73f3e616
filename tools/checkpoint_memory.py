"""How much memory loading and describing a checkpoint takes, beside the file's own pages.

Writes a Kosmos-2 policy of real widths and few layers (2.8 GB by default) in both formats, loads and
describes it in processes of their own, and removes it. ``own``: memory of the process that is not the mapped
file's (``RssAnon``), beyond what Python and torch take; ``file``: pages of the file that were read, which
the kernel takes back when it needs them. Linux only.

  python -m tools.checkpoint_memory
  python -m tools.checkpoint_memory --layers 1
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

WAYS = (("describe", "-"), ("load", "float32"), ("load", "bfloat16"))
_POLL_SECONDS = 0.01


def main(typed: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=9, help="of the language model; the real one has 24")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)  # way, dtype, file
    arguments = parser.parse_args(typed)
    if arguments.one:
        print(one(*arguments.one))
        return
    with tempfile.TemporaryDirectory() as folder:
        for path in write(Path(folder), arguments.layers):
            print(f"{path.name}, {path.stat().st_size / 1e6:,.0f} MB")
            for way in WAYS:
                command = [sys.executable, "-m", __spec__.name, "--one", *way, str(path)]
                print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="")


def write(folder: Path, layers: int) -> list[Path]:
    """A checkpoint of constant weights as torch and as safetensors write it, the backbone's folder beside."""
    import torch
    from safetensors.torch import save_file
    from transformers import Kosmos2Config

    from vla_bench.policies.vla.backbones import backbone_class
    from vla_bench.policies.vla.backbones.tokenizers import byte_tokenizer
    from vla_bench.policies.vla.checkpoints import parameters_on_meta
    from vla_bench.policies.vla.config import VlaConfig
    from vla_bench.policies.vla.model import VlaModel

    config = Kosmos2Config(text_config={"layers": layers}, vision_config={"num_hidden_layers": 4})
    config.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    adapter = backbone_class("kosmos2")
    with parameters_on_meta():
        model = VlaModel(VlaConfig(), adapter(adapter.build(config)))
    tensors = {
        f"model.{name}": torch.full(value.shape, 0.01) if value.is_meta else value
        for name, value in model.state_dict().items()
        if not name.endswith("lm_head.weight")  # tied
    }
    paths = [folder / "policy.pt", folder / "policy.safetensors"]
    torch.save({"state_dict": tensors}, paths[0])
    save_file(tensors, paths[1])
    return paths


def one(way: str, dtype: str, path: str) -> str:
    """A line about one way, measured in this process."""
    from vla_bench.bench.cli.main import main as command
    from vla_bench.policies.vla.build import build
    from vla_bench.policies.vla.config import VlaConfig
    from vla_bench.policies.vla.engine import Engine  # noqa: F401 - all imports before memory is counted

    before, peak, over = _memory(), _memory(), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_SECONDS):
            for kind, amount in _memory().items():
                peak[kind] = max(peak[kind], amount)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.monotonic()
    if way == "describe":
        with contextlib.redirect_stdout(io.StringIO()):
            command(["describe", path])
    else:
        built = build(VlaConfig(), backbone_path=os.path.dirname(path), checkpoint=path, dtype=dtype)
        assert next(built.model.parameters()).is_cpu
    seconds = time.monotonic() - started
    over.set()
    watcher.join()
    own, file = (peak[kind] - before[kind] for kind in ("RssAnon", "RssFile"))
    return f"  {way:<9}{dtype:<10}{seconds:6.1f} s   own {own:6.0f} MB   file {file:6.0f} MB"


def _memory() -> dict[str, float]:
    """Megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = (line.split() for line in lines if line.startswith(("RssAnon:", "RssFile:")))
    return {name.rstrip(":"): int(amount) * 1024 / 1e6 for name, amount, _ in found}


if __name__ == "__main__":
    main()
