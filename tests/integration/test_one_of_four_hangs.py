"""A hang costs its deadline and one more try, and nobody else waits for it; told by the order of events."""

from __future__ import annotations

from pathlib import Path

from vla_bench.bench.dispatch import (
    EpisodeFinished,
    EpisodeRetried,
    EpisodeStarted,
    Event,
    Job,
    PolicyChoice,
    make_pool,
    run_episodes,
)
from vla_bench.bench.protocol import EpisodeSpec
from vla_bench.bench.setup.run_config import RunConfig
from vla_bench.envs.simulation import EpisodeStart, SimulationSpec

EPISODES = [
    EpisodeSpec(
        i,
        f"seq-{i:04d}",
        EpisodeStart("box", {"episode": (float(i),)}),
        ("reach_red",),
        ("go",),
        step_limit=40,
    )
    for i in range(40)
]
HUNG = 5


def test_the_other_three_do_everything_else_meanwhile(tmp_path: Path):
    events: list[Event] = []
    cue = {"do": "hang", "episode": HUNG, "step": 5, "times": 1}
    simulation = SimulationSpec("fake", {"cues": [cue], "counter": str(tmp_path)})
    job = Job(simulation, PolicyChoice("random"), RunConfig(step_deadline=3.0))
    assert run_episodes(job, EPISODES, make_pool("local", 4), on_event=events.append)

    told = [event for event in events if isinstance(event, EpisodeStarted | EpisodeFinished | EpisodeRetried)]
    (retried,) = (place for place, event in enumerate(told) if isinstance(event, EpisodeRetried))
    stuck = next(e.worker for e in told if isinstance(e, EpisodeStarted) and e.episode.index == HUNG)
    finished = [e.record.index for e in told[:retried] if isinstance(e, EpisodeFinished)]
    assert sorted(finished) == [i for i in range(40) if i != HUNG], "all else was done within its deadline"

    again, last = told[retried + 1 :]
    assert isinstance(again, EpisodeStarted) and isinstance(last, EpisodeFinished)
    assert (again.episode.index, again.attempt, last.record.index) == (HUNG, 2, HUNG)
    assert again.worker != stuck, "another worker takes it at once; nobody waits for the new process"

    # Whoever finishes has its next episode before any other worker finishes two.
    waiting: dict[str, list[str]] = {}
    handed_out = 0
    for event in told[:retried]:
        if isinstance(event, EpisodeStarted):
            handed_out += 1
            waiting.pop(event.worker, None)
        elif isinstance(event, EpisodeFinished) and handed_out < len(EPISODES):
            worker = event.record.worker
            for idle, others in waiting.items():
                assert worker not in others, f"{idle} was idle while {worker} finished two episodes"
                others.append(worker)
            waiting[worker] = []
