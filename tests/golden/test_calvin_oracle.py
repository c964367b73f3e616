"""The oracle gives the recorded verdicts on the recorded states and contacts."""

from __future__ import annotations

import numpy as np
import pytest
from calvin_recordings import Recording, needs_golden, recorded_files, recordings

from vla_bench.envs.calvin.oracle import BLOCKS, ROBOT, TABLE
from vla_bench.envs.calvin.scenes import SCENES
from vla_bench.envs.calvin.snapshot import Snapshot
from vla_bench.envs.calvin.tasks import TASKS

pytestmark = needs_golden


def snapshots(recording: Recording) -> list[Snapshot]:
    """The recording as what the oracle looks at, one for every state."""
    bodies = {block.name: 2 + i for i, block in enumerate(SCENES[recording.scene].blocks)}
    sources = np.array([ROBOT, *sorted(BLOCKS), TABLE])
    contacts = recording["contact_idx"]
    result = []
    for t in range(len(recording["robot_obs"])):
        touched = {int(body): set() for body in sources}
        for _, source, body, _, link in contacts[contacts[:, 0] == t]:
            touched[int(sources[source])].add((int(body), int(link)))
        velocity = np.concatenate([recording["block_linvel"][t], recording["block_angvel"][t]], axis=1)
        result.append(
            Snapshot(
                bodies=bodies,
                positions={2 + i: tuple(x) for i, x in enumerate(recording["block_pos"][t])},
                quaternions={2 + i: tuple(x) for i, x in enumerate(recording["block_quat"][t])},
                velocities={2 + i: tuple(x) for i, x in enumerate(velocity)},
                touched={body: frozenset(pairs) for body, pairs in touched.items()},
                joints=dict(zip(("slide", "drawer"), recording["doors"][t], strict=True)),
                lights=dict(zip(("lightbulb", "led"), recording["lights"][t], strict=True)),
            )
        )
    return result


@pytest.mark.parametrize("file", [*recorded_files("traj"), *recorded_files("history")])
def test_verdicts_on_recorded_states(file):
    """Every task, at every step from each recorded reference step on, relative to it."""
    seen = set()
    for recording in recordings(file):
        states = snapshots(recording)
        for row, reference in enumerate(recording["ref_steps"]):
            for t, state in enumerate(states[reference:], start=reference):
                bits = int(recording["solved_bits"][row, t])
                expected = {name for i, name in enumerate(TASKS) if bits >> i & 1}
                verdict = {name for name, rule in TASKS.items() if rule.solved(states[reference], state)}
                assert verdict == expected, (recording.scene, recording.name, int(reference), t)
                seen |= expected
    assert len(seen) > 10, "the recordings solve too few tasks to prove anything"
