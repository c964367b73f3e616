"""``vla-bench serve``: what it refuses, and what a served policy makes of a client's request."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("websockets")

from remote_servers import Waver, served

from vla_bench.bench.cli import main as commands
from vla_bench.bench.serving.translation import Translation
from vla_bench.envs.simulation import environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.codecs import vla_eval
from vla_bench.policies.remote.errors import MessageFault
from vla_bench.policies.remote.fitting import raw_mapping
from vla_bench.policies.remote.mapping import load_mapping
from vla_bench.policies.remote.probe import probe_of
from vla_bench.policies.remote.request import Moment, Requests

CALVIN = environment_spec("calvin")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "serve which policy?"),
        (["policy=stub", "--port", "99999"], "no such port"),
        (["policy=expert"], "simulator's state"),
        (["policy=stub", "--mapping", "vla_eval_calvin"], "of the protocol vla_eval"),
        (["policy=stub", "--mapping", "nonsense"], "no mapping 'nonsense'"),
        (["policy=stub", "--protocol", "grpc"], "invalid choice"),
    ],
)
def test_refusals(words, said, capsys):
    assert commands.main(["serve", *words]) == 1
    assert said in capsys.readouterr().err


def test_a_request_comes_back_as_the_observation_it_was_made_of():
    for name in ("openpi_raw_calvin", "vla_eval_raw_calvin"):
        mapping = load_mapping(name)
        seen, _ = probe_of(CALVIN, mapping)
        request = Requests(mapping, CALVIN)(seen, Moment("open the drawer", SubtaskContext("seq-0000", 0, 0)))
        asked = Translation(mapping, Waver.describe(CALVIN), CALVIN).asked({**request, "episode": "e", "seed": 3})
        assert asked.instruction == "open the drawer" and asked.about == {"episode": "e", "seed": 3}
        for array in ("rgb_static", "rgb_gripper", "robot_obs"):
            assert np.array_equal(asked.observation[array], seen[array])


def test_units_are_converted_and_other_conventions_refused():
    spec = Waver.describe(CALVIN)
    wrist = load_mapping("vla_eval_calvin_wrist")
    chunk = Translation(wrist, spec, CALVIN).chunk(np.ones((1, 7), dtype=np.float32))
    assert chunk.tolist() == [[0.02] * 3 + [0.05] * 3 + [1.0]]
    with pytest.raises(PolicyError, match="they differ in"):
        Translation(load_mapping("vla_eval_calvin_absolute"), spec, CALVIN)
    with pytest.raises(PolicyError, match="looks through gripper"):
        Translation(load_mapping("vla_eval_calvin"), spec, CALVIN)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation/image": np.zeros((4, 4), np.uint8)}, r"uint8 \(4, 4\)"),
        ({"observation/image": np.zeros((4, 4, 3))}, "float64"),
        ({"observation/image": "picture"}, "is str"),
        ({"prompt": 3}, "is no text"),
        ({"prompt": "x" * 20_000}, "is no text"),
        ({"seed": -1}, "'seed'"),
        ({"episode": ["a"]}, "'episode'"),
    ],
)
def test_requests_that_are_none(change, words):
    mapping = load_mapping("openpi_raw_calvin")
    translation = Translation(mapping, Waver.describe(CALVIN), CALVIN)
    seen, _ = probe_of(CALVIN, mapping)
    request = Requests(mapping, CALVIN)(seen, Moment("go", SubtaskContext("seq-0000", 0, 0)))
    with pytest.raises(MessageFault, match=words):
        translation.asked({**request, **change})
    with pytest.raises(MessageFault, match="without 'prompt'"):
        translation.asked({name: value for name, value in request.items() if name != "prompt"})
    with pytest.raises(MessageFault, match="not a map"):
        translation.asked([1, 2])


def test_a_message_of_a_type_that_servers_do_not_take_is_answered():
    from websockets.sync.client import connect

    with (
        served(Waver(CALVIN), CALVIN, "vla_eval_raw_calvin") as address,
        connect(f"ws://{address}", compression=None, max_size=None, proxy=None) as connection,
    ):
        connection.send(vla_eval.encode(vla_eval.Message("action", {}, 7)))
        answer = vla_eval.decode(connection.recv(timeout=10))
    assert (answer.type, answer.seq) == ("error", 7)
    assert answer.payload["error"] == "a server takes no message of type 'action'"


@pytest.mark.parametrize(
    ("protocol", "family", "options", "name"),
    [
        ("openpi", "calvin", {}, "openpi_raw_calvin"),
        ("openpi", "simpler", {"set": "bridge"}, "openpi_raw_bridge"),
        ("vla_eval", "simpler", {"set": "visual_matching"}, "vla_eval_raw_fractal"),
        ("vla_eval", "fake", {}, "vla_eval_fake"),
    ],
)
def test_clients_are_taken_to_send_what_there_is(protocol, family, options, name):
    assert raw_mapping(protocol, environment_spec(family, options)) == name
