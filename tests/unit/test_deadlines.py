from vla_bench.bench.dispatch.deadlines import FIRST, LEAST, MARGIN, MOST, Deadlines
from vla_bench.bench.episode.rollout import Phase
from vla_bench.bench.setup.run_config import RunConfig


def deadlines(**fields):
    return Deadlines(RunConfig(**fields))


def test_the_first_episode_gets_time_and_later_ones_a_multiple_of_what_was_seen():
    learning = deadlines()
    assert learning.seconds()[Phase.SIMULATE] == FIRST[Phase.SIMULATE]
    learning.learn(Phase.SIMULATE, 4.0)
    assert learning.seconds()[Phase.SIMULATE] == MARGIN * 4.0 == learning.seconds()[Phase.IDLE]
    assert learning.seconds()[Phase.DECIDE] == FIRST[Phase.DECIDE], "nothing was said of decisions"
    learning.learn(Phase.SIMULATE, 0.001)
    assert learning.seconds()[Phase.SIMULATE] == MARGIN * 4.0, "the slowest counts, not the last"


def test_there_is_a_least_and_a_most():
    learning = deadlines()
    learning.learn(Phase.SIMULATE, 1e-6), learning.learn(Phase.DECIDE, 1e6)
    assert learning.seconds()[Phase.SIMULATE] == LEAST[Phase.SIMULATE]
    assert learning.seconds()[Phase.DECIDE] == MOST


def test_what_is_configured_holds():
    fixed = deadlines(step_deadline=0.5, start_deadline=7.0)
    fixed.learn(Phase.SIMULATE, 100.0)
    assert fixed.seconds()[Phase.SIMULATE] == 0.5
    assert fixed.seconds()[Phase.START] == 7.0
