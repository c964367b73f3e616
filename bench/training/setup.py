"""What is typed for a training run, and the folder it belongs to. Imports no torch."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vla_bench.bench.errors import ConfigError
from vla_bench.bench.live.tracking import check_tracker
from vla_bench.bench.protocol import canonical_json, to_plain
from vla_bench.bench.setup.config import GROUPS, Config, build, config_from_plain, config_to_plain
from vla_bench.bench.setup.presets import compose_words
from vla_bench.policies.identity.digests import digest_of
from vla_bench.policies.identity.files import files_of
from vla_bench.policies.vla.options import VlaOptions
from vla_bench.policies.vla.training.config import TrainingConfig

TRAIN_GROUPS = {**GROUPS, "train": TrainingConfig}
PLACEMENT = ("device", "sharded", "threads", "workers", "save_every", "save_seconds", "validation_batches")
"""Fields of ``train`` that may change between tries: they say where and how fast, not what."""
_OWN = ("backbone_path", "model", "config", "checkpoint", "trust_checkpoint", "allow_missing", "allow_unexpected")
"""Arguments of the policy that say what is trained; others are for running it."""


@dataclass(frozen=True, slots=True)
class TrainingSetup:
    """A training run before anything is opened."""

    config: Config
    """``policy`` is the structure, ``benchmark`` what it is evaluated on, ``run`` where it is kept."""
    train: TrainingConfig
    options: VlaOptions
    """Of the structure that is trained."""

    def to_plain(self) -> dict[str, Any]:
        """Every field, as JSON's own types."""
        return {**config_to_plain(self.config), "train": to_plain(self.train)}

    @property
    def evaluates(self) -> bool:
        """Whether checkpoints are tried in the simulator."""
        return self.train.evaluate_every > 0


def load_training(typed: Sequence[str]) -> TrainingSetup:
    """What was typed, checked as far as it can be without opening anything.

    Raises:
        UserError: something is unknown or cannot be; says what to type.
    """
    plain, words = compose_words(typed, TRAIN_GROUPS)
    train = build(TrainingConfig, plain.pop("train", None) or {}, "train")
    config = config_from_plain(plain)
    if not any(word.key == "policy" for word in words):
        raise ConfigError(
            "training needs a structure: type policy=vla_policy_head_lstm, or another of policy=vla_…; "
            "policy.model.<field>= changes it"
        )
    if config.policy.target != "vla":
        raise ConfigError(
            f"policy={config.policy.target} has nothing to train; type policy=vla_policy_head_lstm, or another of "
            "policy=vla_…"
        )
    if not train.data:
        raise ConfigError(
            "training needs a data set: type train.data=<folder>, as `vla-bench data` records, imports or packs one"
        )
    if not Path(train.data).exists():
        raise ConfigError(f"train.data={train.data}: there is no such folder")
    if train.evaluate_every and not any(word.key == "benchmark" for word in words):
        raise ConfigError(
            "train.evaluate_every needs to know on what: type benchmark=<preset>, e.g. one of single tasks"
        )
    if train.vision_from is not None and not Path(train.vision_from).exists():
        raise ConfigError(f"train.vision_from={train.vision_from}: there is no such checkpoint")
    check_tracker(config.run.tracking)
    arguments = dict(config.policy.arguments)
    if arguments.get("checkpoint") is None and arguments.get("seed") is None:
        arguments["seed"] = train.seed
    options = VlaOptions.from_arguments({**arguments, "execute": None})
    if not train.train_vision and train.vision_from is None and options.checkpoint is None:
        raise ConfigError(
            "train.train_vision=false keeps the vision tower as it is, and random numbers see nothing; type "
            "train.vision_from=<checkpoint>, or policy.checkpoint=<checkpoint> to begin with all of it"
        )
    execute = arguments.get("execute")
    if execute is not None and options.model.window > 1 and execute != train.stride:
        raise ConfigError(
            f"policy.execute={execute} remembers frames {execute} steps apart, and train.stride={train.stride} trains "
            f"on frames {train.stride} apart; type train.stride={execute}"
        )
    return TrainingSetup(config, train, options)


def identity_of(setup: TrainingSetup, data: str, validation: str) -> dict[str, Any]:
    """What a training run's folder belongs to; ``data`` and ``validation`` are digests."""
    apart = (*PLACEMENT, "vision_from")
    chosen = {name: value for name, value in to_plain(setup.train).items() if name not in apart}
    if not setup.train.subject_loss:
        del chosen["subject_loss"]  # as in runs from before it was asked
    chosen |= {"data": data, "validation_data": validation}
    weights = {"checkpoint": setup.options.checkpoint, "vision_from": setup.train.vision_from}
    return {
        "structure": setup.options.model.to_mapping(),
        "start": {
            "backbone": Path(setup.options.backbone_path).name,
            "files": {name: each for name, each in setup.options.spec().files.items() if name != "config"},
            # Left out where there are none, as in runs from before they counted.
            **{name: content_of(path) for name, path in weights.items() if path is not None},
        },
        "train": chosen,
        "benchmark": to_plain(setup.config.benchmark) if setup.evaluates else None,
        "split": getattr(setup.config.benchmark.options, "split", "none"),
    }


def content_of(checkpoint: str | Path) -> str:
    """Digest (16 hexadecimal digits) of a checkpoint's files, wherever they are; of a sharded one, all that it lists.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        lines = [f"{name} {digest_of(file)}" for name, file in sorted(files_of(Path(checkpoint)).items())]
    except OSError as error:
        raise ConfigError(f"{checkpoint} cannot be read: {error.strerror}") from None
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def folder_of(setup: TrainingSetup, identity: Mapping[str, Any]) -> Path:
    """The run's folder: its name, or one made from what it is."""
    run = setup.config.run
    if run.name:
        return Path(run.results) / run.name
    digest = hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:8]
    slug = re.sub(r"[^a-z0-9._-]+", "-", f"train-{setup.options.spec().name}".lower()).strip("-.")
    return Path(run.results) / f"{slug}-{digest}"


def evaluation_config(setup: TrainingSetup, checkpoint: Path, folder: Path, step: int) -> Config:
    """The run that tries a checkpoint."""
    kept = {name: value for name, value in setup.config.policy.arguments.items() if name not in (*_OWN, "seed")}
    policy = dataclasses.replace(setup.config.policy, arguments={**kept, "checkpoint": str(checkpoint)})
    run = dataclasses.replace(
        setup.config.run,
        name=f"step-{step:07d}",
        results=str(folder / "evaluations"),
        overwrite=False,
        tracking="none",
        video="none",
    )
    return dataclasses.replace(setup.config, policy=policy, run=run)
