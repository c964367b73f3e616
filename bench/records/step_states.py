"""``run.trace=states``: a parquet file for each episode, with a row for every control step.

Columns are ``position``, ``subtask``, ``step``, ``decision``, ``action``, ``success``, one for each vector of the
simulation's state, and ``contacts``. The file's metadata (key ``vla_bench``, JSON) says which episode it is and what
the numbers of the vectors are called.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vla_bench.bench.episode.step_trace import Step, StepTrace
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.bench.records.journal import write_atomically
from vla_bench.envs.simulation import Contact, TracedSimulation

if TYPE_CHECKING:
    import pyarrow

STATES = "states"
"""Folder of a run's step traces."""


def write_states(
    folder: Path, trace: StepTrace, simulation: TracedSimulation, episode: EpisodeSpec, action: str
) -> None:
    """Writes ``<episode>.parquet``, whole or not at all; an earlier try's is replaced.

    Args:
        folder: made when it is not there.
        trace: of the whole episode.
        simulation: names the numbers of its vectors.
        episode: which.
        action: name of the action convention.
    """
    from pyarrow import parquet

    from vla_bench.bench.video.trace import file_name

    about = {
        "episode": episode.episode,
        "scene": episode.start.scene,
        "subtasks": list(episode.subtasks),
        "instructions": list(episode.instructions),
        "action": action,
        "vectors": {name: list(names) for name, names in simulation.vector_names().items()},
    }
    table = table_of(trace.steps, trace.subtasks)
    table = table.replace_schema_metadata({"vla_bench": json.dumps(about)})
    folder.mkdir(exist_ok=True)
    path = folder / f"{file_name(episode.episode)}.parquet"
    write_atomically(path, lambda temporary: parquet.write_table(table, temporary, compression="zstd"))


def table_of(steps: Sequence[Step], subtasks: Sequence[str]) -> pyarrow.Table:
    """The rows as a table; numbers as they were, in float64."""
    import pyarrow

    columns: dict[str, Any] = {
        "position": pyarrow.array([each.position for each in steps], pyarrow.int32()),
        "subtask": pyarrow.array([subtasks[each.position] for each in steps]).dictionary_encode(),
        "step": pyarrow.array([each.step for each in steps], pyarrow.int32()),
        "decision": pyarrow.array([each.decision for each in steps], pyarrow.int32()),
        "action": pyarrow.array(
            [None if each.action is None else each.action.astype(np.float64) for each in steps],
            pyarrow.list_(pyarrow.float64()),
        ),
        "success": pyarrow.array([each.success for each in steps]),
    }
    for name in steps[0].state.vectors if steps else ():
        rows = np.stack([each.state.vectors[name] for each in steps]).astype(np.float64)
        columns[name] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(rows.ravel()), rows.shape[1])
    columns["contacts"] = _contacts([each.state.contacts for each in steps])
    return pyarrow.table(columns)


def _contacts(rows: Sequence[Sequence[Contact]]) -> pyarrow.ListArray:
    import pyarrow

    ends = np.cumsum([0, *map(len, rows)])
    every = [contact for row in rows for contact in row]
    kinds = {"body": str, "link": int, "other": str, "other_link": int, "distance": float, "force": float}
    types = {str: pyarrow.string(), int: pyarrow.int32(), float: pyarrow.float64()}
    fields = {name: pyarrow.array([getattr(c, name) for c in every], types[kind]) for name, kind in kinds.items()}
    for name in ("body", "other"):
        fields[name] = fields[name].dictionary_encode()
    places = np.array([contact.place for contact in every], dtype=np.float64).reshape(-1, 3)
    fields["place"] = pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(places.ravel()), 3)
    made = pyarrow.StructArray.from_arrays(list(fields.values()), list(fields))
    return pyarrow.ListArray.from_arrays(pyarrow.array(ends, pyarrow.int32()), made)
