"""A plan under levels of stress: what of it is changed, what it says of itself, what the worker is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.errors import ConfigError, suggestion
from vla_bench.bench.families.family import BenchmarkConfig, Family, Plan
from vla_bench.bench.protocol import EpisodeSpec, to_plain
from vla_bench.bench.stress import words
from vla_bench.envs.simulation import STRESS, EnvironmentSpec, EpisodeStart
from vla_bench.envs.stress.body import changes
from vla_bench.envs.stress.levels import AXES, RULES, START, WORLD, Stress, axis_of, changed, episode_seed
from vla_bench.envs.stress.wrapped import steps_of, to_option
from vla_bench.policies.base import PolicySpec

MEASURED = "latency as it was measured here: not the same on another machine, nor in another run"
_WORDS = 11
"""Of the seeds: keeps the draws of words apart from others."""


def stressed(
    plan: Plan,
    stress: Stress,
    family: Family,
    benchmark: BenchmarkConfig,
    policy: PolicySpec,
    environment: EnvironmentSpec,
) -> Plan:
    """The plan with these levels; the same object when all are zero.

    Raises:
        ConfigError: the benchmark does not have what is to be changed; says what there is.
        EnvironmentFault: sentences are not there.
    """
    levels = changed(stress)
    if not levels:
        return plan
    _check(levels, stress, family, policy, environment)
    protocol, names = plan.protocol, tuple(levels)
    if refusal := family.stress_refused(benchmark, protocol.facts, names):
        raise ConfigError(refusal)
    episodes: tuple[EpisodeSpec, ...] = protocol.episodes
    if any(name in AXES["words"] for name in names):
        episodes = _reworded(episodes, stress, family, benchmark)
    moved = [name for name in names if name in START]
    drawn = [name for name in names if name not in (*AXES["words"], *AXES["time"], *START)]
    seeds = [episode_seed(stress.seed, episode.episode) for episode in episodes]
    if moved:
        assert family.stressed_start is not None
        change = family.stressed_start
        episodes = tuple(
            dataclasses.replace(
                episode, start=change(benchmark, episode, stress, np.random.default_rng((seed, _WORDS + 1)))
            )
            for episode, seed in zip(episodes, seeds, strict=True)
        )
    if drawn:
        episodes = tuple(
            dataclasses.replace(episode, start=_seeded(episode.start, seed))
            for episode, seed in zip(episodes, seeds, strict=True)
        )
    option = to_option(stress, policy.action, environment.control_hz)
    in_worker = drawn or any(name in AXES["time"] for name in names)
    options = {**plan.simulation.options, STRESS: option} if in_worker else plan.simulation.options
    facts = {**protocol.facts, STRESS: facts_of(stress, environment.control_hz)}
    notes = [f"stressed, {described(facts[STRESS])}: not comparable with published numbers"]
    notes += [MEASURED] if stress.latency == "measured" else []
    return dataclasses.replace(
        plan,
        protocol=dataclasses.replace(protocol, facts=facts, episodes=episodes),
        simulation=dataclasses.replace(plan.simulation, options=options),
        notes=(*plan.notes, *notes),
    )


def facts_of(stress: Stress, control_hz: float) -> dict[str, Any]:
    """The levels as facts of a protocol: those that are not zero, their seed, how time passes, and later rules."""
    levels = changed(stress)
    facts: dict[str, Any] = {name: to_plain(value) for name, value in levels.items() if name not in AXES["time"]}
    if any(name in AXES["time"] for name in levels):
        late = "measured" if stress.latency == "measured" else steps_of(stress, control_hz)
        facts |= {"latency": late, "meanwhile": stress.meanwhile}
    rules = {name: RULES[name] for name in levels if name in RULES}
    return facts | ({"rules": rules} if rules else {}) | {"seed": stress.seed}


def described(facts: Mapping[str, Any]) -> str:
    """Facts in words: ``body: lost 0.1``."""
    parts: dict[str, list[str]] = {}
    for name, value in facts.items():
        if name not in ("seed", "meanwhile", "rules"):
            parts.setdefault(axis_of(name), []).append(_level(name, value, facts))
    seed = f" (seed {facts['seed']})" if facts.get("seed") else ""
    return "; ".join(f"{axis}: {', '.join(texts)}" for axis, texts in parts.items()) + seed


_SAID: Mapping[str, str] = {
    "brightness": "brightness {:+.0%}",
    "image_noise": "noise {:g} of 255",
    "camera_shift": "shifted {:g} m",
    "camera_turn": "turned {:g}°",
    "camera_fov": "field of view {:+.0%}",
    "camera_blur": "resolution less {:.0%}",
    "light_turn": "turned {:g}°",
    "light_strength": "strength {:+.0%}",
    "clutter": "{:g} objects",
    "arm_shift": "arm {:g} rad off",
    "block_shift": "blocks {:g} m off",
    "slow_gripper": "gripper {:g} steps late",
}
"""What a level is called, where its field and its number do not say it."""


def _level(name: str, value: Any, facts: Mapping[str, Any]) -> str:
    """One level in words."""
    if name == "latency":
        return f"latency {value}" + ("" if value == "measured" else " steps") + f", {facts['meanwhile']} meanwhile"
    if name in _SAID:
        return _SAID[name].format(value).replace("-", "−")
    if isinstance(value, list):
        value = ", ".join(map(str, value))
    said = f"{value:g}" if isinstance(value, float) else str(value).replace("_", " ")
    return f"{name.replace('_', ' ')} {said}"


def _check(
    levels: Mapping[str, Any], stress: Stress, family: Family, policy: PolicySpec, environment: EnvironmentSpec
) -> None:
    title = family.title or family.name
    for name in levels:
        if name in (*WORLD, *START) and name not in family.stress:
            raise ConfigError(f"stress.{name}: {title} cannot change that. Axes it has: {_axes(family)}")
    for name in ("black", "frozen"):
        for camera in getattr(stress, name):
            if camera not in environment.cameras:
                known = list(environment.cameras)
                raise ConfigError(
                    f"stress.{name}={camera}: {title} has no such camera.{suggestion(camera, known)} "
                    f"Cameras: {', '.join(known)}"
                )
    if stress.gain and not changes(policy.action):
        raise ConfigError(
            f"stress.gain is for actions that are changes, and {policy.name!r} commands values ({policy.action.name}); "
            "leave it out, or take stress.action_noise"
        )


def _axes(family: Family) -> str:
    """The axes that the benchmark has, in words; of those that it has in part the levels as well."""
    said = []
    for axis, fields in AXES.items():
        there = [name for name in fields if name in family.stress or name not in (*WORLD, *START)]
        if there:
            said.append(axis if len(there) == len(fields) else f"{axis} ({', '.join(there)})")
    return ", ".join(said)


def _seeded(start: EpisodeStart, seed: int) -> EpisodeStart:
    return dataclasses.replace(start, state={**start.state, STRESS: (float(seed),)})


def _reworded(
    episodes: Sequence[EpisodeSpec], stress: Stress, family: Family, benchmark: BenchmarkConfig
) -> tuple[EpisodeSpec, ...]:
    texts: dict[str, str] = {}
    for episode in episodes:
        texts |= dict(zip(episode.subtasks, episode.instructions, strict=True))
    wanted = stress.wording in ("paraphrase", "annotated", "file", "other_task")
    sentences = _sentences(stress, family, benchmark) if wanted else {}
    made = []
    for episode in episodes:
        generator = np.random.default_rng((episode_seed(stress.seed, episode.episode), _WORDS))
        instructions = tuple(
            _worded(task, text, texts, sentences, stress, generator)
            for task, text in zip(episode.subtasks, episode.instructions, strict=True)
        )
        made.append(dataclasses.replace(episode, instructions=instructions))
    return tuple(made)


def _worded(
    task: str,
    text: str,
    texts: Mapping[str, str],
    sentences: Mapping[str, Sequence[str]],
    stress: Stress,
    generator: np.random.Generator,
) -> str:
    match stress.wording:
        case "paraphrase" | "annotated" | "file":
            if task not in sentences:
                raise ConfigError(f"stress.wording={stress.wording}: there is no sentence for the task {task!r}")
            text = words.sentence(text, sentences[task], generator)
        case "synonyms":
            text = words.synonyms(text, generator)
        case "polite":
            text = words.polite(text, generator)
        case "order":
            text = words.reordered(text)
        case "other_task":
            known = {**{name: said[0] for name, said in sentences.items()}, **texts}
            try:
                text = words.another(task, text, known, generator)
            except ValueError as error:
                raise ConfigError(f"stress.wording=other_task: {error}. Evaluate several tasks") from None
    return words.with_typos(text, stress.typos, generator) if stress.typos else text


def _sentences(stress: Stress, family: Family, benchmark: BenchmarkConfig) -> Mapping[str, Sequence[str]]:
    if stress.wording == "file":
        return _read(Path(stress.words_file))
    if family.sentences is None:
        if stress.wording == "other_task":
            return {}
        raise ConfigError(
            f"stress.wording={stress.wording}: {family.title or family.name} has no other sentences. Take "
            "stress.wording=polite, or a file of yours: stress.wording=file stress.words_file=<file.yaml>"
        )
    return family.sentences(benchmark, "given" if stress.wording == "other_task" else stress.wording)


def _read(path: Path) -> dict[str, tuple[str, ...]]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"stress.words_file={path}: cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"stress.words_file={path} is not YAML: {' '.join(str(error).split())}") from None
    sound = isinstance(content, dict) and all(
        isinstance(said, list) and said and all(isinstance(each, str) and each.strip() for each in said)
        for said in content.values()
    )
    if not isinstance(content, dict) or not sound:
        raise ConfigError(f"stress.words_file={path}: each line must be task: [sentence, ...]")
    return {str(task): tuple(said) for task, said in content.items()}
