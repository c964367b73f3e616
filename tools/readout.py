"""What down-sampling costs: the readouts of a policy's head, by tokens, latents and window, as ratios in one run.

python -m tools.readout
python -m tools.readout --width 2048 --hidden 1024 --tokens 64 --latents 1 --windows 8 --device cuda
python -m tools.readout --format md

Hidden states of n tokens a frame are read by: the *action token* (its own L states are all that is read), *all
tokens* (side by side, nothing dropped), *max pooling* and a *resampler* (a Perceiver of depth 2), each brought
down to L; then a head on W frames. Counted are readout and head, not the language model, in which L action tokens
more are n + L tokens instead of n. FLOPs are those of matrix products and attention (torch's FLOP counter), so a
maximum counts nothing. Memory is the most that tensors take at once, weights and gradients included. Times are
medians over rounds, of one thread on a CPU; all settings take their turn in each round.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch

from vla_bench.bench.records.formats import print_tables
from vla_bench.bench.records.tables import Cell, Table
from vla_bench.policies.vla.config import VlaConfig
from vla_bench.policies.vla.heads import build_head

READOUTS = ("action token", "all tokens", "max pooling", "resampler")


@dataclass(frozen=True, slots=True)
class Setting:
    """One readout and what it reads."""

    readout: str
    tokens: int
    latents: int
    window: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a setting costs, of one batch; 0 seconds until they are measured."""

    parameters: int
    flops: int
    """Forward."""
    both: int
    """Forward and backward."""
    memory: int
    """Bytes at once, most."""


class Reader:
    """A head with its readout, on random hidden states."""

    def __init__(self, setting: Setting, *, width: int, hidden: int, head: str, batch: int, device: str) -> None:
        everything = setting.readout == "all tokens"
        # Pooling to as many spans as there are tokens keeps each token.
        readout = {"action token": "action_token", "resampler": "resampler"}.get(setting.readout, "pooling")
        latent = setting.tokens if everything else setting.latents
        config = VlaConfig(
            structure="policy_head" if setting.window > 1 else "one_step",
            head=head,  # type: ignore[arg-type]
            window=setting.window,
            hidden=max(1, hidden * setting.latents // latent),
            latent=latent,
            readout=readout,  # type: ignore[arg-type]
        )
        torch.manual_seed(0)
        built = build_head(config, width)
        assert built is not None
        self.head = built.to(device)
        read = setting.latents if setting.readout == "action token" else setting.tokens
        self.hidden = torch.randn(batch * setting.window, read, width, device=device, requires_grad=True)
        self._shape = (batch, setting.window, -1)

    def forward(self) -> torch.Tensor:
        """The sum of all that is predicted."""
        said = self.head(self.head.read(self.hidden).view(self._shape))
        return said.arm.sum() + said.gripper.sum()

    def clear(self) -> None:
        """Drops gradients."""
        self.head.zero_grad(set_to_none=True)
        self.hidden.grad = None


def cost_of(reader: Reader) -> Cost:
    """Counts; FLOPs as torch counts them."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as forward:
        reader.forward()
    with FlopCounterMode(display=False) as both:
        reader.forward().backward()
    reader.clear()
    parameters = sum(each.numel() for each in reader.head.parameters())
    return Cost(parameters, forward.get_total_flops(), both.get_total_flops(), _memory(reader))


def _memory(reader: Reader) -> int:
    if reader.hidden.is_cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        own = sum(each.numel() * each.element_size() for each in (*reader.head.parameters(), reader.hidden))
        reader.forward().backward()
        reader.clear()
        return torch.cuda.max_memory_allocated() - before + own
    from torch.distributed._tools.mem_tracker import MemTracker

    tracker = MemTracker()
    tracker.track_external(reader.head, reader.hidden)
    with tracker:
        reader.forward().backward()
    reader.clear()
    return int(sum(found["Total"] for found in tracker.get_tracker_snapshot("peak").values()))


def times(readers: list[Reader], rounds: int) -> list[tuple[float, float]]:
    """Median seconds forward and backward of each."""
    found: list[list[tuple[float, float]]] = [[] for _ in readers]
    for _ in range(rounds + 1):
        for place, reader in enumerate(readers):
            began = _clock(reader)
            said = reader.forward()
            middle = _clock(reader)
            said.backward()
            found[place].append((middle - began, _clock(reader) - middle))
            reader.clear()
    # The first round warms up.
    return [tuple(statistics.median(each) for each in zip(*of[1:], strict=True)) for of in found]  # type: ignore[misc]


def _clock(reader: Reader) -> float:
    if reader.hidden.is_cuda:
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def measure(settings: list[Setting], rounds: int, **sizes: Any) -> Table:
    """All settings, as ratios to the action token of the same tokens, latents and window."""
    readers = [Reader(setting, **sizes) for setting in settings]
    costs, seconds = [cost_of(reader) for reader in readers], times(readers, rounds)
    of = dict(zip(settings, zip(costs, seconds, strict=True), strict=True))
    rows = []
    for setting, (cost, (forward, backward)) in of.items():
        base, (base_forward, base_backward) = of[Setting("action token", *_rest(setting))]
        pairs = (
            (cost.parameters, base.parameters, f"{cost.parameters / 1e6:.2f} M"),
            (cost.flops, base.flops, f"{cost.flops / 1e9:.3f} G"),
            (cost.both, base.both, f"{cost.both / 1e9:.3f} G"),
            (cost.memory, base.memory, f"{cost.memory / 1e6:.1f} MB"),
            (forward, base_forward, f"{1e3 * forward:.2f} ms"),
            (backward, base_backward, f"{1e3 * backward:.2f} ms"),
        )
        told = [text if setting.readout == "action token" else f"× {own / other:.2f}" for own, other, text in pairs]
        first = [str(each) for each in (setting.tokens, setting.latents, setting.window)]
        rows.append(tuple(Cell(each) for each in (setting.readout, *first, *told)))
    columns = ("readout", "tokens", "latents", "window", "parameters", "FLOPs forward", "both", "memory")
    kept = ", ".join(f"{name} {value}" for name, value in sizes.items())
    note = (
        f"{kept}; torch {torch.__version__}; ratios to the action token of the same size; one run of {rounds} rounds."
    )
    return Table("What down-sampling costs", (*columns, "time forward", "backward"), tuple(rows), note)


def _rest(setting: Setting) -> tuple[int, int, int]:
    return setting.tokens, setting.latents, setting.window


def main(typed: list[str] | None = None) -> None:
    """Measures and prints."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m tools.readout", description=__doc__, formatter_class=form)
    parser.add_argument("--tokens", type=int, nargs="+", default=[16, 64], metavar="N", help="a frame (16 64)")
    parser.add_argument("--latents", type=int, nargs="+", default=[1, 4], metavar="L", help="that are kept (1 4)")
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 8], metavar="W", help="frames (1 8)")
    parser.add_argument("--width", type=int, default=128, metavar="D", help="of a hidden state (128)")
    parser.add_argument("--hidden", type=int, default=128, metavar="H", help="of the head, for each latent (128)")
    parser.add_argument("--head", choices=("fc", "lstm", "gpt"), default="fc", help="fc")
    parser.add_argument("--batch", type=int, default=4, metavar="B", help="samples (4)")
    parser.add_argument("--rounds", type=int, default=20, help="20")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda")
    parser.add_argument("--format", choices=("screen", "md", "csv", "latex", "html"), default="screen", help="screen")
    arguments = parser.parse_args(typed)
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    sizes = {name: getattr(arguments, name) for name in ("width", "hidden", "head", "batch", "device")}
    places = itertools.product(arguments.tokens, arguments.latents, arguments.windows, READOUTS)
    settings = [Setting(readout, tokens, latents, window) for tokens, latents, window, readout in places]
    print_tables([measure(settings, arguments.rounds, **sizes)], arguments.format)


if __name__ == "__main__":
    main()
