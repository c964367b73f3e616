"""Records that a policy's unchanged twin has made already: pictures alone were changed, and none that it is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from vla_bench.bench.errors import ResultSetError
from vla_bench.bench.protocol import EpisodeRecord, EpisodeSpec, Timings
from vla_bench.bench.records.journal import read_journal
from vla_bench.bench.records.result_set import JOURNAL, OF_TWIN
from vla_bench.bench.setup.preparation import Preparation, as_row, under
from vla_bench.envs.stress.levels import PICTURE, WORLD, Stress, changed

SEEN = frozenset({*PICTURE, *WORLD} - {"clutter"})
"""Levels that change pictures and nothing else."""
_BY_CAMERA = ("black", "frozen")
"""Those that name the cameras that they change."""


def unseen(stress: Stress, cameras: Collection[str]) -> set[str]:
    """Levels that change nothing that a policy with these cameras is shown."""
    found = SEEN & set(changed(stress))
    return {
        name for name in found if not cameras or (name in _BY_CAMERA and not set(getattr(stress, name)) & {*cameras})
    }


def twins_records(ready: Preparation, missing: Sequence[EpisodeSpec]) -> list[EpisodeRecord]:
    """Of ``missing`` those that the same run without changed pictures has judged, as records of this run.

    Only where it is certain that they would come out the same: the policy is shown none of the changed pictures, so
    that its observations and with them its actions are equal, and time does not pass as it is measured. Not where
    clips, traces or vectors are wanted, which the twin may lack, nor where the policy's files are others by now.
    """
    config = ready.config
    seen = unseen(config.stress, [camera.name for camera in ready.policy.sensors.cameras])
    if not seen or ready.live is not None or config.stress.latency == "measured":
        return []
    kept = config.run.video != "none" or config.run.trace != "none" or config.run.listened
    if kept or (config.run.name and not ready.row):
        return []
    zero = Stress()
    plain = dataclasses.replace(config.stress, **{name: getattr(zero, name) for name in seen})
    unnamed = dataclasses.replace(config, run=dataclasses.replace(config.run, name=None))
    twin = under(dataclasses.replace(ready, config=unnamed), plain)
    if ready.row:
        twin = as_row(twin, ready.row)
    try:
        contents = read_journal(twin.folder / JOURNAL)
    except (ResultSetError, OSError):
        return []
    theirs, ours = contents.header["identity"], ready.identity
    if {**theirs, "protocol": ""} != {**ours, "protocol": ""} or theirs["protocol"] != twin.plan.protocol.hash:
        return []
    wanted = {episode.index for episode in missing}
    return [
        dataclasses.replace(record, worker=f"{OF_TWIN}{twin.folder.name}", timings=Timings(), latency={}, attempt=1)
        for record in contents.records
        if record.status == "done" and record.index in wanted
    ]
