"""What can be known of a run before a worker exists: its policy's needs, its episodes, its folder."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_bench.bench.dispatch.job import Placement
from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families.family import Plan
from vla_bench.bench.live.tracking import check_tracker
from vla_bench.bench.policy_server.live import LiveInstance
from vla_bench.bench.protocol import EpisodeSpec, canonical_json, to_plain
from vla_bench.bench.records.provenance import now
from vla_bench.bench.records.rows import folder_of_row
from vla_bench.bench.setup.config import Config
from vla_bench.bench.setup.plan import environment_of, environment_options, plan
from vla_bench.envs.simulation import EnvironmentSpec
from vla_bench.envs.stress.levels import Stress
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.choice import PolicyChoice
from vla_bench.policies.identity.content import Content
from vla_bench.policies.kept import Asked, Kept, can_keep
from vla_bench.policies.registry import NEED_NUMPY_ONLY, find_policy
from vla_bench.policies.specification import Specification, ask_policy

LONGEST_SLUG = 100
"""Letters of a folder's name before its digest."""


@dataclass(frozen=True, slots=True)
class Preparation:
    """A run that could start: everything known before a worker exists."""

    config: Config
    policy: PolicySpec
    plan: Plan
    identity: Mapping[str, Any]
    """What a run's folder belongs to, as plain data; another identity may not add to it."""
    folder: Path
    content: Content
    """Digests of what the policy is made of."""
    output: str = ""
    """What it printed while it was asked."""
    live: LiveInstance | None = None
    """The policy itself, when it lives in this process."""
    kept: Kept | None = None
    """The process that has built it, when a worker may claim that."""
    built: Asked | None = None
    """The policy as it was built in this process, for ``run.backend=inline``."""
    identified: bool = False
    """Whether what the policy finds out about itself is in the identity."""
    row: str = ""
    """Of an ablation, whose name is in the folder's; empty for a run by itself."""

    def release(self) -> None:
        """Ends what was kept for the run."""
        if self.kept is not None:
            self.kept.release()


def prepare(config: Config, live: LiveInstance | None = None, *, keep: bool = False) -> Preparation:
    """Plans the run and names its folder; touches nothing, loads no simulator.

    ``keep``: it is run next, so a policy that is built to be asked what it needs is kept for that; release it then.

    Raises:
        UserError: the policy, the assets or the benchmark are not as configured; says what to type.
    """
    environment = environment_of(config.benchmark)  # a mistake in the benchmark is told before the policy is asked
    asked = _asked(config, keep) if live is None else live.specification(environment, Path(config.run.results))
    try:
        return _prepared(config, asked, live, environment)
    except BaseException:
        if asked.kept is not None:
            asked.kept.release()
        raise


def under(ready: Preparation, stress: Stress) -> Preparation:
    """The same run under other levels of stress; the policy is not asked again. Raises what planning raises."""
    config = dataclasses.replace(ready.config, stress=stress)
    asked = Specification(ready.policy, ready.content, ready.output)
    return _prepared(config, asked, ready.live, environment_of(config.benchmark))


def _prepared(
    config: Config, asked: Specification, live: LiveInstance | None, environment: EnvironmentSpec
) -> Preparation:
    policy = asked.spec
    if config.run.inference == "server" and policy.privileged:
        raise ConfigError(
            f"policy={config.policy.target} is shown the simulator's state, which no policy server "
            "gets: leave run.inference=server out"
        )
    check_tracker(config.run.tracking)
    if config.run.video != "none":
        from vla_bench.bench.video.clips import check_encoder

        check_encoder()
    if config.run.trace != "none" and not environment.traced:
        raise ConfigError(
            f"run.trace={config.run.trace}: the simulations of {environment.family} do not tell their states; leave "
            "it out"
        )
    made = plan(config.benchmark, policy, environment, config.stress)
    if config.run.stop_width is not None and made.protocol.facts["kind"] != "chains":
        raise ConfigError(
            "run.stop_width is for chains: a task suite has its episodes task by task, so its beginning does "
            "not stand for the whole. Leave it out"
        )
    identity = {
        "split": made.split,
        "policy": config.policy.target,
        "arguments": {
            name: value for name, value in to_plain(config.policy.arguments).items() if name not in policy.placement
        },
        "seed": config.run.seed,
        "protocol": made.protocol.hash,
    }
    made = dataclasses.replace(made, notes=(*made.notes, *policy.notes))
    # Every moment of a living policy has a folder of its own; what is typed leads to the same one, whatever was edited.
    moment = {"moment": asked.content.digests} if live is not None else {}
    named = {**identity, **moment}
    name = config.run.name or _slug(config.benchmark.name or config.benchmark.family, policy.name, named)
    identity["content"] = asked.content.digests
    ready = Preparation(
        config,
        policy,
        made,
        identity,
        Path(config.run.results) / name,
        asked.content,
        asked.output,
        live,
        asked.kept,
        asked.built,
    )
    if config.run.listened and placement(ready) != "child":
        raise ConfigError(
            "run.vectors listens to a policy in the workers' own processes, and this one decides in another; take its "
            "vectors after the run: run.video=all, then vla-bench vectors extract --episodes"
        )
    return ready


def as_row(ready: Preparation, row: str, *, extend: bool = False) -> Preparation:
    """The same as a row of an ablation: its folder has the row's name, unless the run is in another one already.
    What identifies the run stays in the folder's name as it is, so that a row may be renamed.

    ``extend``: further episodes are added to what the row has.
    """
    folder = folder_of_row(ready.folder, row, ready.identity, extend=extend)
    run = dataclasses.replace(ready.config.run, name=folder.name, extend=extend)
    return dataclasses.replace(ready, config=dataclasses.replace(ready.config, run=run), folder=folder, row=row)


def _asked(config: Config, keep: bool) -> Specification:
    run = config.run
    # A worker on a GPU of its own, or on another machine, builds its own.
    same = run.backend == "local" or (run.backend == "ray" and run.address is None and not run.gpu_share)
    return ask_policy(
        PolicyChoice(config.policy.target, config.policy.arguments),
        config.benchmark.family,
        environment_options(config.benchmark),
        left_out=Path(config.run.results),
        seconds=config.run.start_deadline,
        keep=keep and same and can_keep(),
        here=keep and run.backend == "inline",
    )


def identified(ready: Preparation) -> Preparation:
    """The same with what a policy finds out about itself when it is asked (``identify``): the model that a server
    says it serves becomes part of the run's identity, and what nobody declares a note beside the numbers.

    Raises:
        UserError: it cannot be found out; says what to type.
    """
    if ready.live is not None:
        return dataclasses.replace(ready, identified=True)
    target = ready.config.policy.target
    identify = getattr(find_policy(target, ready.plan.environment), "identify", None)
    if identify is None:
        return dataclasses.replace(ready, identified=True)
    found = identify(ready.plan.environment, **ready.config.policy.arguments)
    known = {f"policy.{name}": word for name, word in found.files.items()}
    content = dataclasses.replace(ready.content, files={**ready.content.files, **known})
    return dataclasses.replace(
        ready,
        content=content,
        identity={**ready.identity, "content": content.digests},
        plan=dataclasses.replace(ready.plan, notes=(*ready.plan.notes, *found.notes)),
        identified=True,
    )


def placement(ready: Preparation) -> Placement:
    """Where decisions are made."""
    chosen = ready.config.run.inference
    if ready.live is not None:
        return "server"
    if chosen != "auto":
        return chosen
    elsewhere = ready.plan.python and not ready.policy.privileged
    return "server" if elsewhere and ready.config.policy.target not in NEED_NUMPY_ONLY else "child"


def journal_header(ready: Preparation) -> dict[str, Any]:
    """Line 1 of the journal: all that is needed to make sense of its records."""
    protocol = ready.plan.protocol
    return {
        "created": now(),
        "name": ready.folder.name,
        "benchmark": ready.config.benchmark.name or ready.config.benchmark.family,
        "policy": ready.policy.name,
        "identity": dict(ready.identity),
        "protocol": {
            "name": protocol.name,
            "hash": protocol.hash,
            "facts": to_plain(protocol.facts),
            "score": to_plain(protocol.score),
        },
        "episodes": len(protocol.episodes),
        "episode_digests": [episode.digest for episode in protocol.episodes],
        "longest": max(len(episode.subtasks) for episode in protocol.episodes),
        "tasks": sorted({task for episode in protocol.episodes for task in episode.subtasks}),
        "scenes": list(dict.fromkeys(episode.start.scene for episode in protocol.episodes)),
        "notes": list(ready.plan.notes),
        **({"row": ready.row} if ready.row else {}),
    }


def wanted_episodes(ready: Preparation) -> list[EpisodeSpec]:
    """The episodes of the protocol that this try is about. ConfigError: ``run.only`` names another."""
    episodes, only = ready.plan.protocol.episodes, ready.config.run.only
    places = {episode.episode: episode.index for episode in episodes}
    wanted: set[int] = set()
    for word in only:
        first, dots, last = word.partition("..")
        ends = [_place(word, end, places, numbers=bool(dots)) for end in ((first, last) if dots else (first,))]
        if ends[0] > ends[-1]:
            raise ConfigError(f"run.only={word}: a range goes from the earlier episode to the later one")
        wanted.update(range(ends[0], ends[-1] + 1))
    return [episode for episode in episodes if not only or episode.index in wanted]


def _place(word: str, name: str, places: Mapping[str, int], *, numbers: bool) -> int:
    if name in places:
        return places[name]
    if numbers and name.isdecimal() and len(name) < 10 and int(name) < len(places):
        return int(name)
    first, last = min(places, key=places.__getitem__), max(places, key=places.__getitem__)
    raise ConfigError(
        f"run.only={word}: this run has no such episode.{suggestion(name, places)} It has {len(places)}, from "
        f"{first} to {last}; a range is typed as {first}..{last} or 0..{len(places) - 1}"
    )


def _slug(benchmark: str, policy: str, identity: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    words = re.sub(r"[^a-z0-9._-]+", "-", f"{benchmark}-{policy}".lower())
    return words[:LONGEST_SLUG].strip("-.") + f"-{digest}"
