"""Shows a policy the planned frames and writes down what it holds, a batch at a time."""

from __future__ import annotations

import base64
import hashlib
import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vla_bench.bench.vectors.frames import Listed, Seen, Source
from vla_bench.bench.vectors.heard import picture
from vla_bench.bench.vectors.sampling import Plan, Sample
from vla_bench.bench.vectors.store import Writer
from vla_bench.envs.errors import UserError
from vla_bench.policies.base import Policy, SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.identity.sources import is_own
from vla_bench.policies.listening import Listener, Tokens, listening
from vla_bench.policies.one_slot import OneSlotPolicy


def history_of(policy: Any, places: Sequence[str]) -> int:
    """Frames that matter to what is heard: the window of a ``vla`` whose language model, or whose head, remembers one;
    else the sample's own."""
    config = getattr(getattr(policy, "_engine", None), "config", None)
    if config is None or config.window == 1:
        return 1
    in_head = any(".act_head" in f".{place}" for place in places)
    return config.window if config.structure in ("interleaved", "video") or in_head else 1


def extract(
    policy: Policy,
    source: Source,
    plan: Plan,
    writer: Writer,
    places: Sequence[str],
    *,
    batch: int,
    history: int,
    stride: int,
    tokens: Tokens = "last",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    on_note: Callable[[str], None] = lambda sentence: None,
) -> None:
    """Fills what the writer has not yet.

    The first frame is shown alone, too: a policy that holds something else then, as one whose module has another axis
    first, is shown all frames alone.

    Errors: PolicyError, VectorsError, and those of the source.
    """
    left = plan.samples[writer.done :]
    on_progress(writer.done, len(plan.samples))
    batch = 1 if isinstance(policy, OneSlotPolicy) else batch
    together, tried, warned = True, False, False
    with listening(policy, places, tokens) as listener:
        for group in _groups(source.seen(left, policy.spec.sensors, history, stride), batch):
            found = heard(policy, listener, group) if together else _apart(policy, listener, group)
            if len(group) > 1 and not tried:
                tried, together = True, _near(found, heard(policy, listener, group[:1]))
                if not together:
                    found = _apart(policy, listener, group)
                    on_note("of frames shown together the policy holds other vectors, so each is shown alone")
            if not warned and (told := _overflown(found, group, listener)):
                warned = True
                on_note(told)
            writer.tell(dtypes=listener.dtypes)
            writer.add(found, [_row(source, each) for each in group])
            on_progress(writer.done, len(plan.samples))
    writer.finish()


def heard(policy: Policy, listener: Listener, group: Sequence[Seen]) -> dict[str, np.ndarray]:
    """What the policy computes at the newest frame of each: (k, ...) float32 by place."""
    _decide(policy, listener, group)
    found = listener.take(len(group))
    return _apart(policy, listener, group) if found is None else found


def _apart(policy: Policy, listener: Listener, group: Sequence[Seen]) -> dict[str, np.ndarray]:
    apart = []
    for each in group:
        _decide(policy, listener, [each])
        one = listener.take(1)
        assert one is not None
        apart.append(one)
    return {place: np.concatenate([one[place] for one in apart]) for place in apart[0]}


def _near(together: Mapping[str, np.ndarray], alone: Mapping[str, np.ndarray]) -> bool:
    """Whether the first of these is what it is alone, to within the rounding of half precision."""
    for place, one in alone.items():
        first = together[place][:1]
        if first.shape != one.shape:
            return False
        if np.isfinite(one).all() and not np.linalg.norm(first - one) <= 0.1 * np.linalg.norm(one):
            return False
    return True


def _overflown(found: Mapping[str, np.ndarray], group: Sequence[Seen], listener: Listener) -> str:
    """A sentence on the first vector that is not finite; empty where all are."""
    for place, vectors in found.items():
        bad = ~np.isfinite(vectors.reshape(len(vectors), -1)).all(1)
        if bad.any():
            of = group[int(bad.argmax())].sample
            return (
                f"at episode {of.episode.name}, frame {of.frame} {place} is not finite: the policy overflows there (it "
                f"computes in {listener.dtypes[place]}), and nothing will be computed from these vectors"
            )
    return ""


def _decide(policy: Policy, listener: Listener, group: Sequence[Seen]) -> None:
    for slot, each in enumerate(group):
        context = SubtaskContext(each.sample.episode.name, 0, seed=0)
        policy.reset(slot, each.sample.episode.instruction, context)
    longest = max(len(each.history) for each in group)
    for back in range(longest - 1, -1, -1):
        slots = [slot for slot, each in enumerate(group) if len(each.history) > back]
        listener.forget()
        try:
            answers = policy.act(slots, [group[slot].history[-1 - back] for slot in slots])
        except UserError:
            raise
        except Exception as error:
            raise PolicyError(_failed(policy, group[slots[0]].sample, error)) from error
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer


def _failed(policy: Policy, sample: Sample, error: Exception) -> str:
    """What a policy's own error is told as: what, where in its code, and at which frame."""
    of = [each for each in traceback.extract_tb(error.__traceback__) if is_own(Path(each.filename))]
    where = f" ({of[-1].filename}, line {of[-1].lineno})" if of else ""
    return (
        f"{policy.spec.name} failed when it was shown frame {sample.frame} of episode {sample.episode.name}: "
        f"{type(error).__name__}: {error}{where}"
    )


def _groups(seen: Iterator[Seen], size: int) -> Iterator[list[Seen]]:
    group: list[Seen] = []
    for each in seen:
        group.append(each)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def _row(source: Source, seen: Seen) -> dict[str, Any]:
    row = row_of(source.digest, seen.sample) | {"faithful": seen.faithful}
    row |= {name: seen.arm[name] for name in ("gripper", "x", "y", "z") if name in seen.arm}
    if seen.picture is not None:
        row["picture"] = base64.b64encode(picture(seen.picture)).decode()
    return row


def row_of(source: str, sample: Sample) -> dict[str, Any]:
    """What a row says of a sample, whatever it shows."""
    episode = sample.episode
    return {
        "source": source, "episode": episode.name, "frame": sample.frame, "task": episode.task,
        "instruction": episode.instruction, "scene": episode.scene, "path": episode.path,
        "position": sample.position, "success": episode.success, "faithful": True,
        "stratum": sample.stratum, "reason": sample.reason,
    }  # fmt: skip


def identity(
    policy: str, arguments: Mapping[str, Any], content: Mapping[str, str], source: Listed, plan: Plan, **settings: Any
) -> dict[str, Any]:
    """What makes an extraction the one it is: the same again goes on where it was, another is refused."""
    return {
        "policy": policy,
        "arguments": dict(arguments),
        "content": dict(content),
        "source": {"kind": source.kind, "digest": source.digest},
        "frames": frames_digest(source.digest, [(each.episode.name, each.frame) for each in plan.samples]),
        **settings,
    }


def frames_digest(source: str, frames: Sequence[tuple[str, int]]) -> str:
    """16 hex digits that are the same for the same frames of the same source, in the same order."""
    content = json.dumps([source, [list(each) for each in frames]])
    return hashlib.sha256(content.encode()).hexdigest()[:16]
