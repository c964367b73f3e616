"""Shows a policy chosen frames and keeps what it holds inside; the same command goes on where it was cut off.

vla-bench vectors extract policy=vla policy.checkpoint=results/laptop/best --data packed --output vectors/laptop
vla-bench vectors extract policy=vla policy.checkpoint=results/laptop/best --episodes results/a --output vectors/met
vla-bench vectors extract policy=vla policy.checkpoint=results/laptop/best --data packed --at layers --output vectors/b
vla-bench vectors extract policy._target_=my_module.MyPolicy --at model.act_head --data packed --output vectors/own

vla-bench vectors extract --episodes results/a --output vectors/heard    kept while the run went on: run.vectors=head

--at is where to listen: head (what the action head of policy=vla reads: the context vector), layers (every layer of
its language model), or a module of the policy as its attributes name it; * stands for one part of a name.
The folder holds vectors.safetensors, rows.parquet (which frame each row is) and about.json (digests of both sides).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from vla_bench.bench.vectors.choosing import add_choice


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the policy, the frames and the places."""
    parser.add_argument("words", nargs="*", metavar="policy=...", help="the policy, in the words of an evaluation")
    add_choice(parser)
    parser.add_argument("--at", action="append", default=[], metavar="PLACE", help="may be given again (head)")
    parser.add_argument(
        "--tokens",
        choices=("last", "mean", "max"),
        default="last",
        help="one vector of a module that gives one for each token (last); a vla's own readout comes first",
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="frames at once (16)")
    parser.add_argument(
        "--history", type=int, metavar="N", help="frames a policy is shown before it is listened to (its window)"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where to")


def run(arguments: argparse.Namespace) -> int:
    """Extracts."""
    from vla_bench.bench.errors import ConfigError, at_least
    from vla_bench.bench.live.progress import ProgressLine
    from vla_bench.bench.records.provenance import now
    from vla_bench.bench.vectors.choosing import choose, open_source
    from vla_bench.bench.vectors.extraction import extract, history_of, identity
    from vla_bench.bench.vectors.heard import HEARD
    from vla_bench.bench.vectors.store import Writer
    from vla_bench.policies.listening import resolve

    at_least("--batch ", arguments.batch, 1)
    if arguments.history is not None:
        at_least("--history ", arguments.history, 1)
    if not any(word.partition("=")[0] in ("policy", "policy._target_") for word in arguments.words):
        if arguments.episodes is not None and not arguments.words and (arguments.episodes / HEARD).is_dir():
            return _gather(arguments)
        raise ConfigError(
            "vectors of which policy? Type policy=<name> or policy._target_=<module.Class>; none is needed for "
            "--episodes of a run that was made with run.vectors=head"
        )
    source, family = open_source(arguments)
    plan, _ = choose(arguments, source)
    policy, config, content = _build(arguments.words, source, family)
    try:
        source.check(policy.spec.sensors)
        places = resolve(policy, arguments.at or ["head"])
        history = arguments.history or history_of(policy, places)
        stride = _stride(policy)
        settings = {"at": places, "tokens": arguments.tokens, "history": history, "stride": stride}
        about = {
            "made": now(),
            "policy": policy.spec.name,
            "source": {"kind": source.kind, "name": source.name, "digest": source.digest},
            "plan": {"by": list(plan.by), "seed": plan.seed, "allocation": plan.allocation},
            "identity": identity(config.target, config.arguments, content, source, plan, **settings),
        }
        writer = Writer(arguments.output, about, len(plan.samples))
        try:
            if writer.done:
                what = "all there" if writer.finished else f"going on after {writer.done}"
                print(f"{arguments.output}: {what} of {len(plan.samples)} frames", file=sys.stderr)
            started = time.monotonic()
            if not writer.finished:
                with ProgressLine("frames") as progress:
                    extract(
                        policy,
                        source,
                        plan,
                        writer,
                        places,
                        batch=arguments.batch,
                        history=history,
                        stride=stride,
                        tokens=arguments.tokens,
                        on_progress=progress,
                        on_note=lambda sentence: print(f"note: {sentence}", file=sys.stderr),
                    )
        finally:
            writer.close()
    finally:
        policy.close()
    _tell(arguments.output, time.monotonic() - started)
    return 0


def _gather(arguments: argparse.Namespace) -> int:
    """Takes what was kept while the run went on."""
    from vla_bench.bench.errors import ConfigError
    from vla_bench.bench.live.progress import ProgressLine
    from vla_bench.bench.records.provenance import now
    from vla_bench.bench.vectors.choosing import choose
    from vla_bench.bench.vectors.gathering import HeardSource, gather

    if arguments.history is not None or arguments.split is not None:
        raise ConfigError("--history and --split: were settled when the run was listened to; drop them")
    source = HeardSource(arguments.episodes)
    plan, _ = choose(arguments, source)
    about = {
        "made": now(),
        "source": {"kind": source.kind, "name": source.name, "digest": source.digest},
        "plan": {"by": list(plan.by), "seed": plan.seed, "allocation": plan.allocation},
    }
    started = time.monotonic()
    with ProgressLine("decisions") as progress:
        gather(source, plan, arguments.output, about, source.chosen(arguments.at), progress)
    if source.lacking:
        print(f"{source.lacking} judged episodes of {source.name} were not listened to", file=sys.stderr)
    _tell(arguments.output, time.monotonic() - started)
    return 0


def _build(words: list[str], source: Any, family: str) -> tuple[Any, Any, dict[str, str]]:
    """The policy in the environment of the frames, its configuration, and digests of what it is made of."""
    from vla_bench.bench.families import find_family
    from vla_bench.bench.setup.plan import environment_of
    from vla_bench.bench.setup.presets import load_config
    from vla_bench.envs.simulation import environment_spec
    from vla_bench.policies.identity.content import parts_of, read_content
    from vla_bench.policies.registry import BUILT_IN, find_policy, make_policy

    benchmark = any(word.partition("=")[0].partition(".")[0] == "benchmark" for word in words)
    config = load_config(words)
    if benchmark:
        environment = environment_of(config.benchmark)
    elif source.kind == "episodes":
        environment = environment_spec(source.family, source.options)
    else:
        found = find_family(family)
        environment = environment_spec(family, dict(found.environment(found.options())))
    target, given = config.policy.target, config.policy.arguments
    policy = make_policy(config.policy, environment)
    parts = parts_of(find_policy(target, environment), given, ours=target in BUILT_IN, stated=policy.spec.files)
    return policy, config.policy, read_content(parts).digests


def _stride(policy: Any) -> int:
    """Control steps between the frames that it remembers: those it executes between two decisions."""
    config = getattr(getattr(policy, "_engine", None), "config", None)
    return getattr(config, "stride", None) or policy.spec.execute


def _tell(folder: Path, seconds: float) -> None:
    import pyarrow.parquet as parquet

    from vla_bench.bench.vectors.store import ROWS, shapes_of

    # The pictures of thousands of rows stay on disk.
    faithful = parquet.read_table(folder / ROWS, columns=["faithful"])["faithful"]
    for place, shape in shapes_of(folder).items():
        print(f"{place}: {len(faithful)} × {' × '.join(map(str, shape))} float32")
    off = len(faithful) - sum(bool(each) for each in faithful.to_pylist())
    if off:
        print(f"{off} frames come after a state that the replay did not meet exactly: they are not what the run met")
    print(f"{folder}: {seconds:.1f} s; now: vla-bench vectors describe {folder}")
