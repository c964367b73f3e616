"""A small torture run; the large one is a script: python -m tools.torture."""

from tools.torture import torture

WORDS = ("benchmark=fake", "policy=random", "run.backend=local", "run.workers=2")


def test_a_tormented_run_ends_with_the_tables_of_an_undisturbed_one():
    words = (*WORDS, "benchmark.sequences=30", "benchmark.options.step_seconds=0.001")
    outcome = torture(words, episodes=30, faults=10, seed=4)
    assert outcome.differing == []
    assert sum(outcome.faults.values()) >= 8
    assert outcome.drivers >= 2, "the driver itself was killed and started again"
