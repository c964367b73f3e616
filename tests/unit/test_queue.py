"""The lease queue, with a clock that the test turns."""

from __future__ import annotations

import random

import pytest

from vla_bench.bench.dispatch.queue import EpisodeQueue, Retry
from vla_bench.bench.protocol import EpisodeError, EpisodeRecord, EpisodeSpec
from vla_bench.envs.simulation import EpisodeStart

CRASH = EpisodeError("crash", "killed by SIGSEGV")


def episodes(count: int) -> list[EpisodeSpec]:
    return [
        EpisodeSpec(index, f"seq-{index:04d}", EpisodeStart("D"), ("raise",), ("go up",), 10) for index in range(count)
    ]


def queue_of(count: int, workers: str, **options: object) -> EpisodeQueue:
    queue = EpisodeQueue(episodes(count), **options)
    for worker in workers:
        queue.add_worker(worker)
    return queue


def leased(queue: EpisodeQueue, worker: str) -> str:
    lease = queue.lease(worker)
    assert lease is not None
    return lease.episode.episode


def test_hands_out_every_episode_once_in_order():
    queue = queue_of(3, "ab")
    assert [leased(queue, "a"), leased(queue, "b")] == ["seq-0000", "seq-0001"]
    assert queue.complete("b", "seq-0001")
    assert leased(queue, "b") == "seq-0002"
    assert (queue.pending, queue.running, queue.finished) == (0, 2, False)
    assert queue.complete("a", "seq-0000") and queue.complete("b", "seq-0002")
    assert queue.finished and queue.lease("a") is None


def test_refuses_what_cannot_be():
    with pytest.raises(ValueError, match=r"seq-0001.*more than once"):
        EpisodeQueue([*episodes(2), episodes(2)[1]])
    with pytest.raises(ValueError, match="max_attempts is 0"):
        EpisodeQueue([], max_attempts=0)
    queue = queue_of(2, "a")
    with pytest.raises(ValueError, match="unknown worker 'b'"):
        queue.lease("b")
    queue.lease("a")
    with pytest.raises(ValueError, match="runs 'seq-0000' already"):
        queue.lease("a")


def test_a_failed_episode_goes_first_and_to_another_worker():
    queue = queue_of(3, "ab")
    queue.lease("a")
    verdict = queue.fail("a", CRASH)
    assert isinstance(verdict, Retry) and verdict.attempt == 1 and verdict.error is CRASH
    assert leased(queue, "a") == "seq-0001"
    lease = queue.lease("b")
    assert lease is not None and (lease.episode.episode, lease.attempt) == ("seq-0000", 2)


def test_the_same_worker_tries_again_when_it_is_the_only_one_left():
    queue = queue_of(1, "ab")
    queue.lease("a")
    queue.fail("a", CRASH)
    assert queue.lease("a") is None, "b has not tried yet"
    queue.remove_worker("b", CRASH)
    assert leased(queue, "a") == "seq-0000"


def test_gives_up_with_an_error_record_after_the_last_attempt():
    queue = queue_of(1, "a", max_attempts=2)
    queue.lease("a")
    assert isinstance(queue.fail("a", CRASH), Retry)
    queue.lease("a")
    record = queue.fail("a", CRASH)
    assert isinstance(record, EpisodeRecord)
    assert (record.status, record.attempt, record.worker, record.error) == ("error", 2, "a", CRASH)
    assert (record.index, record.episode, record.scene, record.chain_length) == (0, "seq-0000", "D", 0)
    assert queue.finished


def test_a_lasting_error_is_not_tried_again():
    queue = queue_of(1, "ab")
    queue.lease("a")
    assert isinstance(queue.fail("a", EpisodeError("policy", "NaN"), lasting=True), EpisodeRecord)


def test_a_lost_worker_puts_its_episode_back_and_is_not_believed_later():
    queue = queue_of(1, "ab")
    queue.lease("a")
    assert isinstance(queue.remove_worker("a", CRASH), Retry)
    assert queue.remove_worker("a", CRASH) is None, "said twice, counted once"
    assert leased(queue, "b") == "seq-0000"
    assert not queue.complete("a", "seq-0000"), "the lease is b's now"
    assert queue.complete("b", "seq-0000")


def test_a_lease_runs_out_unless_it_is_renewed():
    now = 0.0
    queue = queue_of(2, "ab", lease_seconds=10.0, clock=lambda: now)
    queue.lease("a"), queue.lease("b")
    now = 8.0
    queue.renew("a")
    now = 12.0
    assert [lease.worker for lease in queue.expired()] == ["b"]
    now = 18.1
    assert [lease.worker for lease in queue.expired()] == ["a", "b"]


def test_a_closed_queue_lets_running_episodes_finish():
    queue = queue_of(3, "a")
    queue.lease("a")
    queue.close()
    assert not queue.finished
    queue.complete("a", "seq-0000")
    assert queue.finished and queue.lease("a") is None and queue.pending == 2


@pytest.mark.parametrize("seed", range(40))
def test_whatever_happens_every_episode_ends_once(seed: int):
    """Random workers come, go, fail, fall silent and finish; the books must balance at every step."""
    rng = random.Random(seed)
    now, count, attempts = 0.0, rng.randint(1, 15), rng.randint(1, 4)
    queue = EpisodeQueue(episodes(count), max_attempts=attempts, lease_seconds=5.0, clock=lambda: now)
    running: dict[str, str] = {}
    tries: dict[str, int] = {}
    ended: list[str] = []
    born = 0

    def close_books(worker: str, verdict: Retry | EpisodeRecord | None) -> None:
        episode = running.pop(worker, None)
        assert (verdict is None) == (episode is None)
        if isinstance(verdict, EpisodeRecord):
            assert verdict.episode == episode and verdict.attempt == attempts
            ended.append(verdict.episode)
        elif verdict is not None:
            assert verdict.episode.episode == episode and verdict.attempt < attempts

    for _ in range(5000):
        if queue.finished:
            break
        now += rng.random()
        workers = sorted(queue.workers)
        if len(workers) < 2 or (len(workers) < 5 and rng.random() < 0.1):
            queue.add_worker(f"worker-{born}")
            born += 1
            continue
        worker = rng.choice(workers)
        chance = rng.random()
        if worker not in running:
            if (lease := queue.lease(worker)) is not None:
                name = lease.episode.episode
                assert name not in running.values() and name not in ended
                tries[name] = tries.get(name, 0) + 1
                assert lease.attempt == tries[name] <= attempts
                running[worker] = name
        elif chance < 0.4:
            assert queue.complete(worker, running[worker])
            ended.append(running.pop(worker))
        elif chance < 0.6:
            close_books(worker, queue.fail(worker, CRASH))
        elif chance < 0.7:
            close_books(worker, queue.remove_worker(worker, CRASH))
        else:
            queue.renew(worker)
        for lease in queue.expired():
            close_books(lease.worker, queue.remove_worker(lease.worker, CRASH))
        assert queue.running == len(running)
        assert queue.pending + queue.running + len(ended) == count
    assert queue.finished and sorted(ended) == [episode.episode for episode in episodes(count)]
