"""Policies that are served elsewhere: the same records as in this process, and a sentence for whatever goes wrong."""

from __future__ import annotations

import time
import urllib.request

import numpy as np
import pytest

websockets = pytest.importorskip("websockets")

from remote_servers import Waver, scripted, served  # noqa: E402

from vla_bench.bench.episode.rollout import run_episode  # noqa: E402
from vla_bench.bench.protocol import EpisodeSpec  # noqa: E402
from vla_bench.envs.fake import FakeSimulation, environment_spec  # noqa: E402
from vla_bench.envs.observation import Sensors  # noqa: E402
from vla_bench.envs.simulation import EpisodeStart  # noqa: E402
from vla_bench.envs.simulation import environment_spec as simulated  # noqa: E402
from vla_bench.policies.base import SubtaskContext  # noqa: E402
from vla_bench.policies.errors import PolicyError  # noqa: E402
from vla_bench.policies.remote.codecs import openpi, vla_eval  # noqa: E402
from vla_bench.policies.remote.codecs.bounds import LARGEST_MESSAGE  # noqa: E402
from vla_bench.policies.remote.codecs.vla_eval import Message  # noqa: E402
from vla_bench.policies.remote.connections.vla_eval import task_of  # noqa: E402
from vla_bench.policies.remote.errors import MessageFault, RemoteFault, ServerFault  # noqa: E402
from vla_bench.policies.remote.policy import RemotePolicy  # noqa: E402

FAKE = environment_spec({})
QUICK = {"wait": 30.0, "timeout": 30.0}


def episodes(count=4, limit=23):
    return [
        EpisodeSpec(
            index=index,
            episode=f"seq-{index:04d}",
            start=EpisodeStart("box", {"episode": (float(index),), "point": (0.1 * index, -0.2, 0.1)}),
            subtasks=("open_gripper", "raise", "reach_red"),
            instructions=("open the gripper", "go up", "move to the red spot"),
            step_limit=limit,
        )
        for index in range(count)
    ]


def outcomes(policy, chosen=None):
    simulation = FakeSimulation(Sensors.of("front"))
    return [run_episode(simulation, policy, episode, seed=0).outcome() for episode in chosen or episodes()]


@pytest.fixture(scope="module")
def in_process():
    return outcomes(Waver(FAKE))


@pytest.mark.parametrize("protocol", ["openpi", "vla_eval"])
def test_records_are_those_of_the_same_policy_in_process(protocol, in_process):
    with served(Waver(FAKE), FAKE, f"{protocol}_fake") as address:
        extra = {"execute": 5} if protocol == "openpi" else {}
        policy = RemotePolicy(FAKE, protocol, address, **extra, **QUICK)
        found = outcomes(policy)
        policy.close()
    if protocol == "vla_eval":  # decides at every step, of which the server answers from its chunk
        for record in [*found, *in_process]:
            for subtask in record["subtasks"]:
                subtask.pop("decisions", None)
    assert found == in_process


def test_the_server_answers_health_questions_and_says_who_it_is():
    with served(Waver(FAKE), FAKE, "openpi_fake") as address:
        for path, wanted in (("healthz", b"OK\n"), ("health", b'{"status": "ok"}\n')):
            with urllib.request.urlopen(f"http://{address}/{path}", timeout=5) as answer:
                assert answer.read() == wanted
        found = RemotePolicy.identify(FAKE, protocol="openpi", address=address)
        assert "waver@1" in found.files["server"]


def replying(*actions, metadata=None, hold=0.0):
    """A server that answers with these, one after the other, the last for ever."""
    import asyncio

    left = list(actions)

    async def handler(socket):
        await socket.send(openpi.encode(metadata or {"name": "scripted"}))
        async for _ in socket:
            if hold:
                await asyncio.sleep(hold)
            answer = left.pop(0) if len(left) > 1 else left[0]
            if callable(answer):
                await answer(socket)
            else:
                await socket.send(answer)

    return handler


GOOD = openpi.encode({"actions": np.zeros((4, 4))})
OTHER = openpi.encode({"actions": np.full((4, 4), 0.5)})


def asked(address, **arguments):
    policy = RemotePolicy(FAKE, "openpi", address, **{**QUICK, "probe": False, **arguments})
    try:
        policy.reset(0, "go up", SubtaskContext("seq-0000", 0, 0))
        simulation = FakeSimulation(Sensors.of("front"))
        return policy.act((0,), (simulation.observe(),))[0]
    finally:
        policy.close()


async def drop(socket):
    await socket.close(1012, "restarting")


BAD = {
    "garbage": (b"\xc1\xff", MessageFault, "msgpack type"),
    "text": (
        "Traceback (most recent call last):\n  File x\nValueError: no such key 'state'",
        ServerFault,
        "no such key",
    ),
    "not finite": (openpi.encode({"actions": np.full((4, 4), np.nan)}), MessageFault, "not finite"),
    "wrong shape": (openpi.encode({"actions": np.zeros((4, 2))}), MessageFault, r"shape \(4, 2\)"),
    "too few": (openpi.encode({"actions": np.zeros((1, 4))}), MessageFault, r"shape \(1, 4\)"),
    "no actions": (openpi.encode({"chunk": 1}), MessageFault, "without 'actions'"),
    "words": (openpi.encode({"actions": "left"}), MessageFault, "no array of numbers"),
    "objects": (
        openpi.encode({"actions": {b"__ndarray__": True, b"dtype": "|O", b"data": bytes(8), b"shape": [1]}}),
        MessageFault,
        "dtype",
    ),
    "too large": (bytes(LARGEST_MESSAGE + 1000), MessageFault, "larger"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_a_server_may_send(name):
    answer, kind, words = BAD[name]
    with scripted(replying(answer)) as address, pytest.raises(kind, match=words) as caught:
        asked(address)
    assert "\n" not in str(caught.value)


def test_an_answer_that_does_not_fit_is_told_at_the_start():
    with scripted(replying(BAD["wrong shape"][0])) as address, pytest.raises(PolicyError, match="does not fit"):
        RemotePolicy(FAKE, "openpi", address, **QUICK)


def test_a_lost_connection_is_mended_in_the_same_decision():
    with scripted(replying(drop, drop, GOOD)) as address:
        assert asked(address).shape == (4, 4)


def test_a_handshake_whose_answer_is_lost_is_tried_again(monkeypatch):
    import socket
    import threading

    monkeypatch.setattr("vla_bench.policies.remote.servers.TRY_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        tries = []

        def accept():
            while len(tries) < 2:
                tries.append(listener.accept()[0])
                tries[-1].sendall(b"noise")  # no end of a line, so that the client waits for more

        threading.Thread(target=accept, daemon=True).start()
        with pytest.raises(RemoteFault, match=r"no server could be used within 1\.2 s"):
            RemotePolicy(FAKE, "openpi", f"127.0.0.1:{listener.getsockname()[1]}", wait=1.2)
        assert len(tries) == 2
        for each in tries:
            each.close()


def test_a_server_that_hangs_is_given_up():
    with scripted(replying(GOOD, hold=1.0)) as address:
        began = time.monotonic()
        with pytest.raises(RemoteFault, match="has not answered"):
            asked(address, timeout=0.4)
        assert time.monotonic() - began < 3


def test_a_server_that_is_not_there():
    with pytest.raises(RemoteFault, match="cannot be reached"):
        RemotePolicy(FAKE, "openpi", "127.0.0.1:9", wait=0.3)
    with pytest.raises(PolicyError, match="Is the server running"):
        RemotePolicy.identify(FAKE, protocol="openpi", address="127.0.0.1:9", wait=0.3)


def test_the_other_server_takes_over():
    with scripted(replying(GOOD)) as address:
        assert asked(f"127.0.0.1:9,{address}").shape == (4, 4)


def test_a_server_without_a_name_needs_the_users_word():
    async def nameless(socket):
        await socket.send(openpi.encode({}))
        async for _ in socket:
            await socket.send(GOOD)

    with scripted(nameless) as address:
        with pytest.raises(PolicyError, match=r"policy\.model"):
            RemotePolicy.identify(FAKE, protocol="openpi", address=address, **QUICK)
        found = RemotePolicy.identify(FAKE, protocol="openpi", address=address, model="mine@7", **QUICK)
        assert not found.files and found.notes
    spec = RemotePolicy.describe(FAKE, "openpi", "host:1", model="mine@7")
    assert "user's word" in spec.notes[0] and spec.files["model"].startswith("mine@7")


def test_a_contradiction_is_an_error_before_the_first_step():
    with (
        scripted(replying(GOOD, metadata={"env": "starvla_policy_server"})) as address,
        pytest.raises(PolicyError, match="starVLA"),
    ):
        asked(address)
    with (
        scripted(replying(GOOD, metadata={"name": "x", "action_chunk_size": 16})) as address,
        pytest.raises(PolicyError, match="chunks have 16"),
    ):
        asked(address)


def test_a_mapping_that_would_do_is_named():
    """Ours says whose requests it takes; what another server says leaves some presets."""
    calvin = simulated("calvin")
    with served(Waver(calvin), calvin, "vla_eval_raw_calvin") as address:
        words = (
            r"takes the requests of the mapping vla_eval_raw_calvin\. Type policy\.mapping=vla_eval_raw_calvin, which"
        )
        with pytest.raises(PolicyError, match=words):
            RemotePolicy(calvin, "vla_eval", address, **QUICK)
        RemotePolicy(calvin, "vla_eval", address, mapping="vla_eval_raw_calvin", **QUICK).close()
    with served(Waver(calvin, chunk=3), calvin, "openpi_raw_calvin") as address:
        with pytest.raises(PolicyError, match=r"10 are to be executed: type policy\.execute=3$"):
            RemotePolicy(calvin, "openpi", address, mapping="openpi_raw_calvin", **QUICK)
        extra = {"episode": "mine"}  # a word more in each request
        RemotePolicy(calvin, "openpi", address, mapping="openpi_raw_calvin", execute=3, extra=extra, **QUICK).close()


def test_a_server_of_the_other_protocol():
    began = time.monotonic()
    with (
        served(Waver(FAKE), FAKE, "openpi_fake") as address,
        pytest.raises(PolicyError, match=r"without type, payload.*is policy\.protocol=vla_eval right"),
    ):
        RemotePolicy(FAKE, "vla_eval", address, wait=30.0)
    assert time.monotonic() - began < 10
    with (
        served(Waver(FAKE), FAKE, "vla_eval_fake") as address,
        pytest.raises(RemoteFault, match=r"speak first: is it one of vla-eval's \(policy\.protocol=vla_eval\)"),
    ):
        RemotePolicy(FAKE, "openpi", address, wait=0.5)


def test_a_long_wait_is_told_once(monkeypatch, capsys):
    monkeypatch.setattr("vla_bench.policies.remote.servers.PATIENCE", 0.3)
    with pytest.raises(PolicyError, match="Is the server running"):
        RemotePolicy.identify(FAKE, protocol="openpi", address="127.0.0.1:9", wait=1.5)
    told = capsys.readouterr().err
    assert told.count("waiting up to 1.5 s for a server (policy.wait=): ws://127.0.0.1:9 cannot be reached") == 1


def test_another_model_behind_the_same_port_is_noticed_at_a_reconnection():
    names = iter(["first", "second", "second", "second"])

    async def changing(socket):
        await socket.send(openpi.encode({"name": next(names)}))
        async for _ in socket:
            await socket.close(1012, "restarting")

    with scripted(changing) as address, pytest.raises(PolicyError, match="has become another"):
        asked(address)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([GOOD, drop, GOOD, GOOD], ""),  # the probe, a decision, the probe again, the decision again
        ([GOOD, drop, OTHER, OTHER], "another model now"),
        ([GOOD, drop, OTHER, GOOD, GOOD], ""),  # draws at random, which the table says by the workers' starts
    ],
)
def test_a_silent_server_is_asked_the_fixed_question_again_at_a_reconnection(answers, words):
    """Its statement is the same, and only an answer tells that it came back with other weights."""
    with scripted(replying(*answers)) as address:
        if words:
            with pytest.raises(RemoteFault, match=words):
                asked(address, probe=True)
        else:
            assert asked(address, probe=True).shape == (4, 4)


def test_vla_eval_errors_late_answers_and_episodes():
    heard = []

    async def handler(socket):
        async for data in socket:
            message = vla_eval.decode(data)
            heard.append((message.type, dict(message.payload)))
            if message.type == "hello":
                await socket.send(vla_eval.encode(Message("hello", {"protocol_version": 1}, message.seq)))
            elif message.type == "observation":
                if len([1 for kind, _ in heard if kind == "observation"]) == 1:
                    await socket.send(
                        vla_eval.encode(Message("error", {"error": "observation_failed: X"}, message.seq))
                    )
                    continue
                await socket.send(vla_eval.encode(Message("action", {"actions": np.ones(4, "f4")}, message.seq - 1)))
                await socket.send(vla_eval.encode(Message("action", {"actions": np.zeros(4, "f4")}, message.seq)))

    simulation = FakeSimulation(Sensors.of("front"))
    with scripted(handler) as address:
        policy = RemotePolicy(FAKE, "vla_eval", address, probe=False, **QUICK)
        policy.reset(0, "go up", SubtaskContext("seq-0003", 0, 0))
        with pytest.raises(ServerFault, match="observation_failed: X"):
            policy.act((0,), (simulation.observe(),))
        assert policy.act((0,), (simulation.observe(),))[0].tolist() == [[0.0] * 4]
        policy.reset(0, "go down", SubtaskContext("seq-0003", 1, 0))
        policy.act((0,), (simulation.observe(),))
        policy.close()
    kinds = [kind for kind, _ in heard]
    assert kinds == ["hello", "episode_start", "observation", "observation", "observation"]
    assert heard[1][1]["task"] == {"name": "seq-0003", "task_name": "seq-0003", "episode_idx": 3}
    assert "episode_restart" not in heard[3][1] and heard[4][1]["episode_restart"] is True


@pytest.mark.parametrize(
    "benchmark, episode, task, sent",
    [
        ("CALVINBenchmark", "seq-0003", "open_drawer", {"name": "seq_0003", "seq_idx": 3, "episode_idx": 0}),
        ("CALVINBenchmark", "mine-12", "open_drawer", {"name": "seq_0012", "seq_idx": 12, "episode_idx": 0}),
        ("SimplerEnvBenchmark", "spoon-0-7", "spoon", {"name": "spoon", "task_name": "spoon", "episode_idx": 7}),
        ("", "seq-0003", "pour", {"name": "pour", "task_name": "pour", "episode_idx": 3}),
        ("", "kitchen", "pour", {"name": "pour", "task_name": "pour", "episode_idx": 0}),
    ],
)
def test_an_episode_is_named_as_the_benchmark_names_its_own(benchmark, episode, task, sent):
    """By the benchmark that the mapping says, not by how a family happens to call its episodes."""
    assert task_of(SubtaskContext(episode, 0, 0, 0, task), benchmark) == sent


def test_an_episode_is_told_its_end():
    told = []

    class Told(Waver):
        def finished(self, slot, outcome):
            told.append(outcome)

    with served(Told(FAKE), FAKE, "vla_eval_fake") as address:
        policy = RemotePolicy(FAKE, "vla_eval", address, **QUICK)
        records = outcomes(policy, episodes(2))
        policy.close()
        until = time.monotonic() + 20
        while len(told) < len(records) and time.monotonic() < until:
            time.sleep(0.02)
    assert [each.chain_length for each in told] == [record["chain_length"] for record in records]
    assert [each.steps for each in told] == [sum(s["steps"] for s in record["subtasks"]) for record in records]


def test_several_slots_are_decided_together():
    policy = Waver(FAKE)
    sizes = []
    act = policy.act
    policy.act = lambda slots, seen: sizes.append(len(slots)) or act(slots, seen)
    simulation = FakeSimulation(Sensors.of("front"))
    with served(policy, FAKE, "openpi_fake") as address:
        remote = RemotePolicy(FAKE, "openpi", address, execute=5, **QUICK)
        for slot in range(4):
            remote.reset(slot, "go up", SubtaskContext(f"seq-{slot:04d}", 0, 0))
        for _ in range(3):
            chunks = remote.act(range(4), [simulation.observe()] * 4)
        remote.close()
    assert len(chunks) == 4 and all(np.array_equal(chunk, chunks[0]) for chunk in chunks)
    assert max(sizes) >= 2


@pytest.mark.parametrize(
    "typed", ["", "host:99999", "ftp://host:1", "ws://", "a b:1", "http://host:1", "host:0", "host:1,,x y"]
)
def test_addresses_that_are_none(typed):
    with pytest.raises(PolicyError, match="address"):
        RemotePolicy.describe(FAKE, "openpi", typed)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"protocol": "grpc"}, "is one of"),
        ({"protocol": "rest"}, "policy.mapping"),
        ({"mapping": "openpi_calvni"}, "Did you mean"),
        ({"mapping": "openpi_calvin"}, "is for calvin"),
        ({"mapping": "vla_eval_fake"}, "of the protocol"),
        ({"mapping": {"protocol": "openpi"}}, "lacks the field"),
        ({"model": "nameless"}, "name@version"),
        ({"wait": -1.0}, "seconds"),
    ],
)
def test_arguments_that_cannot_be(arguments, words):
    with pytest.raises(PolicyError, match=words):
        RemotePolicy.describe(FAKE, **{"protocol": "openpi", "address": "host:1", **arguments})
