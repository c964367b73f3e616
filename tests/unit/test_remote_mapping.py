"""Mappings: every preset builds a request and reads an answer; features, images and gripper rules do what they say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vla_bench.envs.simulation import EnvironmentSpec, Part, environment_spec
from vla_bench.policies.base import SubtaskContext
from vla_bench.policies.errors import PolicyError
from vla_bench.policies.registry import checked_spec
from vla_bench.policies.remote import RemotePolicy
from vla_bench.policies.remote.answer import Interpreter, StickyGripper, rows_of, thresholded
from vla_bench.policies.remote.codecs import rest
from vla_bench.policies.remote.features import Features
from vla_bench.policies.remote.fitting import check_environment
from vla_bench.policies.remote.images import prepared, truncation
from vla_bench.policies.remote.mapping import Answer, Gripper, load_mapping, mapping_from_plain, preset_names
from vla_bench.policies.remote.probe import probe_of
from vla_bench.policies.remote.request import Moment, Requests, merged
from vla_bench.policies.remote.rotations import from_matrix, to_matrix
from vla_bench.policies.remote.statement import compare, said

SETS = {"widowx": {"set": "bridge"}, "google_robot": {"set": "visual_matching"}, "": {}}
CONTEXT = SubtaskContext("seq-0000", 0, 7)
CALVIN = environment_spec("calvin")


def environment_of(mapping):
    return environment_spec(mapping.family, SETS[mapping.robot])


def seen_by(mapping):
    return probe_of(environment_of(mapping), mapping)[0]


def reply_to(mapping, batch=0):
    """A reply of the right shape, all zeros; ``batch``: leading axis."""
    answer = mapping.answer
    columns = max(answer.position[1], answer.rotation[1], answer.gripper_at + 1)
    numbers = np.zeros(((batch,) if batch else ()) + (answer.chunk, columns))
    if answer.form.startswith("rot6d"):
        numbers[..., slice(*answer.rotation)] = (1, 0, 0, 1, 0, 0)
    reply = {key: numbers[..., [i]] for i, key in enumerate(answer.keys)} or numbers
    for name in reversed([*filter(None, answer.path.split("/"))]):
        reply = {name: reply}
    return reply


@pytest.mark.parametrize("name", preset_names())
def test_every_preset(name):
    mapping = load_mapping(name)
    environment = environment_of(mapping)
    assert len(mapping.source) > 10
    spec = checked_spec(
        RemotePolicy.describe(environment, mapping.protocol, "host:1", mapping=name, model="a@b"), environment
    )
    try:
        request = Requests(mapping, environment)(seen_by(mapping), Moment("open the drawer", CONTEXT))
    except PolicyError as error:
        pytest.skip(str(error))  # OpenCV is not installed
    assert list(request) == list(mapping.request)
    if mapping.batch:
        together = merged([request, request])
        (first, _) = rows_of(reply_to(mapping, 2), mapping.answer, 2, batched=True)
        assert together.keys() == request.keys()
    else:
        (first,) = rows_of(reply_to(mapping), mapping.answer)
    chunk = Interpreter(mapping.answer, spec.action).chunk(first)
    assert chunk.shape == (mapping.answer.execute, spec.action.size) and np.isfinite(chunk).all()
    if mapping.answer.gripper.rule == "threshold":
        assert set(chunk[:, -1]) <= {spec.action.gripper_open, spec.action.gripper_closed}


def test_what_the_published_calvin_clients_send():
    mapping = load_mapping("x_vla_calvin")
    seen = seen_by(mapping)
    request = Requests(mapping, CALVIN)(seen, Moment("go", CONTEXT))
    matrix = Rotation.from_euler("xyz", seen["robot_obs"][3:6]).as_matrix()
    expected = [*seen["robot_obs"][:3], *matrix[:, :2].reshape(6), 0.0, *[0.0] * 10]
    np.testing.assert_allclose(request["proprio"], expected, atol=1e-12)
    assert list(request) == ["language_instruction", "proprio", "image0", "image1", "domain_id", "steps"]
    assert isinstance(request["proprio"], list) and request["image0"].shape == (200, 200, 3)
    followed = np.arange(20.0)
    again = Requests(mapping, CALVIN)(seen, Moment("go", CONTEXT, followed))["proprio"]
    assert again == [*range(10), *[0.0] * 10]
    body = rest.encode_x_vla({"proprio": again, "domain_id": 2})
    numbers = ", ".join(f"{n}.0" for n in [*range(10), *[0] * 10])
    assert body.decode() == f'{{"proprio": "[{numbers}]", "domain_id": 2}}'
    assert rest.decode_request(body)["proprio"] == again

    wrist = load_mapping("vla_eval_calvin_wrist")
    request = Requests(wrist, CALVIN)(seen_by(wrist), Moment("go", CONTEXT))
    assert {name: image.shape for name, image in request["images"].items()} == {
        "rgb_static": (200, 200, 3),
        "rgb_gripper": (200, 200, 3),
    }
    assert request["states"].dtype == np.float32 and request["states"].shape == (8,)
    assert np.array_equal(request["images"]["rgb_static"], truncation()[seen_by(wrist)["rgb_static"]])


def test_truncation_lowers_63_of_256_values_by_one():
    lower = np.arange(256) - truncation().astype(int)
    assert lower.sum() == 63 and set(lower) == {0, 1}


def test_resizing():
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    padded = prepared(image, {"size": [224, 224], "resize": "pad"})
    assert padded.shape == (224, 224, 3) and not padded[:28].any() and not padded[196:].any() and padded[28:196].any()
    assert prepared(image[:, :479], {"size": [224, 224], "resize": "pad"}).shape == (224, 224, 3)
    small = prepared(image[:84, :84], {"size": [200, 200], "resize": "torch"})
    torch = pytest.importorskip("torch")
    tensor = torch.from_numpy(image[:84, :84].copy()).permute(2, 0, 1)[None].float()
    theirs = torch.nn.functional.interpolate(tensor, (200, 200), mode="bilinear", align_corners=False)[0]
    theirs = theirs.round().clamp(0, 255).byte().permute(1, 2, 0).numpy()
    assert np.abs(small.astype(int) - theirs).max() <= 1 and (small != theirs).mean() < 1e-3
    assert np.array_equal(prepared(image, {"flip": "both"}), image[::-1, ::-1])
    assert np.array_equal(prepared(image, {"channels": "bgr"}), image[..., ::-1])


def test_rotations_there_and_back():
    draw = np.random.default_rng(0)
    for _ in range(100):
        matrix = Rotation.random(random_state=int(draw.integers(1 << 30))).as_matrix()
        for form in ("euler_xyz", "axis_angle", "quaternion_xyzw", "quaternion_wxyz", "rot6d_rows", "rot6d_columns"):
            np.testing.assert_allclose(to_matrix(from_matrix(matrix, form), form), matrix, atol=1e-12)
        np.testing.assert_allclose(from_matrix(matrix, "euler_xyz"), Rotation.from_matrix(matrix).as_euler("xyz"))
        np.testing.assert_allclose(from_matrix(matrix, "axis_angle"), Rotation.from_matrix(matrix).as_rotvec())


def test_the_pose_in_the_base_frame_of_simpler_env():
    base = np.array([0.147, 0.028, 0.87, *Rotation.from_euler("z", 0.5).as_quat(scalar_first=True)])
    tool = np.array([0.4, 0.1, 1.0, *Rotation.from_euler("xyz", [0.1, 0.2, 0.3]).as_quat(scalar_first=True)])
    seen = {"base_pose": base, "tcp_pose": tool, "gripper_closedness": np.array([0.25])}
    turned = Rotation.from_euler("z", -0.5)
    vector = Features(environment_spec("simpler", {"set": "bridge"})).vector
    np.testing.assert_allclose(vector(["position"], seen), turned.apply(tool[:3] - base[:3]))
    inside = turned * Rotation.from_euler("xyz", [0.1, 0.2, 0.3])
    np.testing.assert_allclose(vector(["euler_xyz"], seen), inside.as_euler("xyz"), atol=1e-12)
    np.testing.assert_allclose(vector(["quaternion_wxyz"], seen), inside.as_quat(canonical=True, scalar_first=True))
    assert vector(["openness", 2, "zeros[2]", "position[1:3]"], seen).shape == (6,)
    assert vector(["openness"], seen).tolist() == [0.75]


def test_gripper_rules_of_the_google_robot():
    change = StickyGripper(Gripper(rule="sticky_change", held=3))
    assert [change(value) for value in (1.0, 0.9, 0.1, 0.1, 0.1, 0.1)] == pytest.approx([0.0, 0.1, 0.8, 0.8, 0.8, 0.0])
    value = StickyGripper(Gripper(rule="sticky_value", held=2))
    assert [value(each) for each in (0.0, 1.0, 1.0, 0.5)] == [1.0, 1.0, -1.0, -1.0]


def test_statistics_offsets_scales_and_thresholds():
    action = CALVIN.action("relative")
    answer = Answer(
        low=(0.0, 0.0, 0.0, -1.0, -1.0, -1.0, 0.0),
        high=(2.0, 2.0, 4.0, 1.0, 1.0, 1.0, 1.0),
        mask=(True,) * 6 + (False,),
        position_scale=0.5,
        gripper=Gripper(threshold=0.8, opens="below"),
    )
    rows = np.array([[0.0, 1.0, -1.0, 0.5, 0.0, -3.0, 0.79]])
    assert Interpreter(answer, action).chunk(rows).tolist() == [[0.5, 1.0, 0.0, 0.5, 0.0, -1.0, 1.0]]
    rows[0, 6] = 0.8
    assert Interpreter(answer, action).chunk(rows)[0, 6] == -1.0
    turned = Answer(form="rot6d_rows", rotation=(3, 9), gripper_at=9, offset=(0.0, np.pi / 2, 0.0))
    pose = np.array([[1, 2, 3, 1, 0, 0, 1, 0, 0, 1.0]])
    (made,) = Interpreter(turned, CALVIN.action("absolute")).chunk(pose)
    np.testing.assert_allclose(made, [1, 2, 3, 0, np.pi / 2, 0, 1], atol=1e-12)


def test_numbers_that_pass_unchanged_keep_their_bits():
    mapping = load_mapping("openpi_raw_calvin")
    for dtype in ("float32", "float64"):
        rows = np.random.default_rng(0).uniform(-1, 1, (10, 7)).astype(dtype)
        (found,) = rows_of({"actions": rows}, mapping.answer)
        chunk = Interpreter(mapping.answer, CALVIN.action("relative")).chunk(found)
        assert chunk.dtype == dtype and chunk.tobytes() == rows.tobytes()


def test_the_adaptive_ensemble():
    answer = Answer(ensemble="adaptive", horizon=2, alpha=0.1, gripper=Gripper(rule="as_is"))
    interpreter = Interpreter(answer, CALVIN.action("relative"))
    first = np.tile(np.arange(4.0)[:, None], (1, 7)) + 1
    assert interpreter.chunk(first)[0].tolist() == [1.0] * 7
    second = interpreter.chunk(-first)
    weights = np.exp(0.1 * np.array([-1.0, 1.0]))
    expected = (weights / weights.sum()) @ np.array([2.0, -1.0])  # the first chunk's second row, the second's first
    np.testing.assert_allclose(second, np.full((1, 7), expected), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"protocol": "grpc"}, "protocol"),
        ({"family": 3}, "family"),
        ({"request": {"a": {"about": "weather"}}}, "one of episode"),
        ({"request": {"a": {"image": "static", "history": 0}}}, "history"),
        ({"request": {"a": {"state": ["position"], "dtype": "int8"}}}, "dtype"),
        ({"request": {"a": {"state": []}}}, "list of terms"),
        ({"dialect": "x_vla"}, "dialect"),
        ({"answer": {"chunk": 2, "execute": 3}}, "execute"),
        ({"answer": {"gripper": {"rule": "throw"}}}, "rule"),
        ({"answer": {"low": [1.0]}}, "answer.high"),
        ({"answer": {"position": [0, 1, 2]}}, "two whole numbers"),
        ({"request": {"a": {"image": "static", "resize": "magic"}}}, "resize"),
        ({"request": {"a": {"image": "static", "size": [0, 3]}}}, "pixels"),
        ({"request": {"a": {"state": "robot_obs"}}}, "list of terms"),
        ({"answre": {}}, "Did you mean 'answer'"),
        ({"batch": "yes"}, "true or false"),
    ],
)
def test_mappings_that_cannot_be(change, words):
    plain = {"name": "x", "protocol": "openpi", "family": "calvin", "request": {}, "answer": {}}
    with pytest.raises(PolicyError, match=words):
        mapping_from_plain({**plain, **change}, "x.yaml")


def test_an_environment_of_somebody_elses():
    """What it offers decides, not its name."""
    plain = {
        "name": "mine",
        "protocol": "openpi",
        "request": {
            "image": {"image": "above"},
            "state": {"state": ["position", "quaternion_xyzw", "openness", "walker[1]"], "dtype": "float64"},
        },
        "answer": {"chunk": 4, "execute": 2},
    }
    mapping = mapping_from_plain(plain, "mine.yaml")
    parts = {
        "position": Part("walker", 0, 3),
        "rotation": Part("walker", 3, 6, "axis_angle"),
        "closedness": Part("grip", 1, 2),
    }
    offered = dict(vectors={"walker": (1.0, 2.0, 3.0, 0.0, 0.0, np.pi), "grip": (0.0, 0.25)}, parts=parts)
    mine = EnvironmentSpec("grid_world", CALVIN.actions, {"above": (30, 40)}, 10.0, **offered)
    spec = RemotePolicy.describe(mine, "openpi", "host:1", mapping={**plain, "name": "mine"}, model="a@b")
    assert spec.execute == 2 and [camera.name for camera in spec.sensors.cameras] == ["above"]
    request = Requests(mapping, mine)(probe_of(mine, mapping)[0], Moment("go", CONTEXT))
    assert request["image"].shape == (30, 40, 3)
    np.testing.assert_allclose(request["state"], [1, 2, 3, 0, 0, 1, 0, 0.75, 2], atol=1e-12)
    with pytest.raises(PolicyError, match="has the term 'openness', which grid_world does not have"):
        check_environment(
            mapping, dataclasses.replace(mine, parts={"position": parts["position"], "rotation": parts["rotation"]})
        )
    with pytest.raises(PolicyError, match="asks for the camera 'above'"):
        check_environment(mapping, CALVIN)
    with pytest.raises(PolicyError, match="needs to be told what the server wants"):
        RemotePolicy.describe(mine, "openpi", "host:1", model="a@b")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"request": {"a": {"state": ["robot_ops"]}}}, "Did you mean 'robot_obs'"),
        ({"family": "libero"}, "is for libero, not for calvin. Presets for it: openpi_calvin"),
        ({"answer": {"convention": "relatve"}}, "offers relative"),
    ],
)
def test_mappings_that_the_environment_cannot_fill(change, words):
    plain = {"name": "x", "protocol": "openpi", "family": "calvin", "request": {}, "answer": {}}
    with pytest.raises(PolicyError, match=words):
        check_environment(mapping_from_plain({**plain, **change}, "x.yaml"), CALVIN)


def test_a_history_of_what_was_sent():
    plain = {"name": "x", "protocol": "openpi", "answer": {}}
    plain["request"] = {
        "frames": {"image": "static", "size": [2, 3], "resize": "pillow", "history": 3, "axes": 1},
        "poses": {"state": ["position[0]"], "history": 2},
        "now": {"state": ["position[0]"]},
    }
    mapping = mapping_from_plain(plain, "x.yaml")
    requests = Requests(mapping, CALVIN)
    seen, past = dict(seen_by(load_mapping("openpi_calvin"))), {}

    def asked(number):
        seen["robot_obs"] = np.full(15, float(number))
        seen["rgb_static"] = np.full((200, 200, 3), number, np.uint8)
        return requests(seen, Moment("go", CONTEXT, past=past))

    first = asked(1)
    assert first["frames"].shape == (1, 3, 2, 3, 3) and first["poses"].tolist() == [[1.0], [1.0]]
    asked(2)
    third = asked(3)
    assert third["frames"][0, :, 0, 0, 0].tolist() == [1, 2, 3] and third["poses"].tolist() == [[2.0], [3.0]]
    assert third["now"].tolist() == [3.0] and first["frames"][0, :, 0, 0, 0].tolist() == [1, 1, 1]
    past.clear()
    assert asked(4)["poses"].tolist() == [[4.0], [4.0]]


def test_a_gripper_value_at_its_threshold():
    """As the published clients have it: vla-eval's absolute CALVIN closes above 0, X-VLA's opens below 0.8."""
    for name, values, expected in (
        ("vla_eval_calvin_absolute", (-0.1, 0.0, 0.1), (1.0, 1.0, -1.0)),
        ("vla_eval_calvin", (-0.1, 0.0, 0.1), (-1.0, -1.0, 1.0)),
        ("x_vla_calvin", (0.79, 0.8, 0.81), (1.0, -1.0, -1.0)),
        ("vla_eval_bridge", (0.49, 0.5, 0.51), (-1.0, -1.0, 1.0)),
    ):
        mapping = load_mapping(name)
        rule, action = mapping.answer.gripper, environment_of(mapping).action(mapping.answer.convention)
        assert thresholded(np.array(values), rule, action).tolist() == list(expected)


def test_the_digest_covers_what_may_change_a_number():
    mapping = load_mapping("openpi_calvin")
    assert dataclasses.replace(mapping, source="elsewhere", note="").digest() == mapping.digest()
    assert dataclasses.replace(mapping, continues=True).digest() != mapping.digest()


def test_what_servers_declare():
    action = CALVIN.action("accumulated")
    mapping = load_mapping("vla_eval_calvin")
    hello = {"model_server": "XVLAModelServer", "observation_params": {"send_wrist_image": True, "ep_len": 720}}
    found = compare(hello, mapping, action)
    assert any("wrist" in each for each in found.contradictions)
    assert any("720" in each for each in found.unknown)
    hello = {
        "action_spec": {
            "position": {"format": "absolute_xyz"},
            "rotation": {"format": "axis_angle"},
            "gripper": {"format": "binary_close_positive"},
        }
    }
    assert len(compare(hello, mapping, action).contradictions) == 3
    absolute = load_mapping("vla_eval_calvin_absolute")
    assert not compare(hello, absolute, CALVIN.action("absolute_axis_angle")).contradictions
    assert said({}, "openpi") == "" and said({"modality_config": {}}, "groot") == ""
    assert said({"model_server": "X", "pid": 3}, "vla_eval") == '{"model_server":"X"}'
    groot = load_mapping("groot_bridge")
    longer = {"modality_config": {"video": {"modality_keys": ["image_0"], "delta_indices": [-1, 0]}}}
    assert "video of 2 steps" in compare(longer, groot, environment_of(groot).action("bridge")).contradictions[0]
    config = {"modality_config": {"video": {"modality_keys": ["image_0", "wrist"]}, "action": {"delta_indices": [0]}}}
    bridge = environment_of(groot).action("bridge")
    assert len(compare(config, groot, bridge).contradictions) == 2


FORMATS = {
    "x_vla": ("delta_xyz", "axis_angle", "binary_close_positive"),
    "x_vla_euler": ("delta_xyz", "euler_xyz", "binary_close_positive"),
    "starvla": ("", "", "binary_close_positive"),
    "groot": ("delta_xyz", "euler_xyz", "continuous_01"),
    "openvla": ("delta_xyz", "axis_angle", "binary_close_positive"),
    "cogact": ("", "", ""),
    "lerobot": ("", "", ""),
}
POSES = "arm_pd_ee_target_base_pose_gripper_pd_joint_pos"
STATE_AND_WRIST = {"send_wrist_image": True, "send_state": True}
GROOT_PARAMS = {"send_state": True, "max_episode_steps": 300, "success_mode": "accumulate"}


@pytest.mark.parametrize(
    ("server", "params", "name", "fits"),
    [
        ("x_vla", {**STATE_AND_WRIST, "absolute_action": True, "ep_len": 720}, "vla_eval_calvin_absolute", True),
        ("x_vla", {**STATE_AND_WRIST, "absolute_action": True, "ep_len": 720}, "vla_eval_calvin", False),
        ("x_vla", STATE_AND_WRIST, "vla_eval_calvin_absolute", True),
        ("cogact", {"success_mode": "truncation"}, "vla_eval_calvin", True),
        ("openvla", {"seed": 0}, "vla_eval_calvin", False),  # its gripper is the other way round
        ("lerobot", STATE_AND_WRIST, "vla_eval_calvin_wrist", True),
        ("lerobot", {"send_state": True}, "vla_eval_bridge_state", True),
        ("lerobot", {"send_state": True}, "vla_eval_bridge", False),
        ("starvla", {}, "vla_eval_bridge", True),
        ("openvla", {"seed": 0}, "vla_eval_bridge", True),
        ("groot", {**GROOT_PARAMS, "deterministic_episodes": False}, "vla_eval_bridge_state", True),
        ("groot", GROOT_PARAMS, "vla_eval_bridge", False),
        ("groot", {**GROOT_PARAMS, "gripper_mode": "sticky"}, "vla_eval_fractal_state", True),
        ("groot", {**GROOT_PARAMS, "gripper_mode": "binary"}, "vla_eval_fractal_state", False),
        (
            "x_vla_euler",
            {"send_state": True, "control_mode": POSES, "max_episode_steps": 1200},
            "vla_eval_bridge_pose",
            True,
        ),
        ("x_vla", {"send_state": True, "control_mode": POSES}, "vla_eval_bridge_pose", False),  # without euler_offset
        ("x_vla_euler", {"send_state": True, "control_mode": POSES}, "vla_eval_bridge_state", False),
    ],
)
def test_what_the_model_servers_of_vla_eval_declare(server, params, name, fits):
    """Of 0.8.0: ``get_action_spec`` and ``get_observation_params`` of its classes, whose words are not always meant."""
    parts = zip(("position", "rotation", "gripper"), FORMATS[server], strict=True)
    spec = {part: {"format": said} for part, said in parts if said}
    mapping = load_mapping(name)
    action = environment_of(mapping).action(mapping.answer.convention)
    found = compare({"action_spec": spec, "observation_params": params}, mapping, action)
    assert bool(found.contradictions) != fits, found.contradictions
    for parameter in set(params) - {
        "send_wrist_image",
        "send_state",
        "absolute_action",
        "control_mode",
        "gripper_mode",
    }:
        assert any(parameter in each for each in found.unknown)
