"""Serve a policy of ours to other people's clients: openpi's websocket clients, or vla-eval.

  vla-bench serve policy=vla_policy_head_lstm policy.checkpoint=model.pt --protocol openpi --port 8000
  vla-bench serve policy=my_module.py:MyPolicy benchmark=<preset> --protocol vla_eval

The policy is chosen with the same words as in an evaluation, the benchmark only says which environment it is for.
Requests that wait are decided for together. GET /healthz answers OK (and /health, as vla-eval has it).
"""

from __future__ import annotations

import argparse
import signal
import ssl
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

from vla_bench.bench.errors import ConfigError, PolicyError
from vla_bench.program import installing

if TYPE_CHECKING:
    from vla_bench.bench.serving.websocket import PolicyService
    from vla_bench.policies.base import Policy

LOOPBACK = "127.0.0.1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("words", nargs="*", metavar="policy=...", help="the policy, and the benchmark it is for")
    parser.add_argument("--protocol", choices=("openpi", "vla_eval"), default="openpi", help="default: openpi")
    parser.add_argument("--host", default=LOOPBACK, help="address to listen on; this machine alone by default")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0 takes a free one")
    parser.add_argument("--certificate", default="", metavar="PEM", help="for TLS (wss://): the server's certificate")
    parser.add_argument("--key", default="", metavar="PEM", help="its key, if that is in a file of its own")
    parser.add_argument("--mapping", default="", help="preset or YAML file: what clients send (docs/remote.md)")
    parser.add_argument("--name", default="", help="what it calls itself, e.g. my-model@step-40000")


def run(arguments: argparse.Namespace) -> int:
    """Serves until it is interrupted."""
    from vla_bench.bench.setup.plan import environment_of
    from vla_bench.bench.setup.presets import load_config
    from vla_bench.policies.registry import make_policy
    from vla_bench.policies.remote.fitting import raw_mapping
    from vla_bench.policies.remote.mapping import load_mapping

    if not 0 <= arguments.port < 65536:
        raise ConfigError(f"--port {arguments.port}: there is no such port")
    tls = _tls(arguments.certificate, arguments.key)
    words = list(arguments.words)
    if not any(word.partition("=")[0] in ("policy", "policy._target_") for word in words):
        raise ConfigError("serve which policy? Type policy=<name> or policy._target_=<module.Class>")
    config = load_config(words)
    environment = environment_of(config.benchmark)
    try:
        from vla_bench.bench.policy_server.per_slot import PolicyPerSlot
        from vla_bench.bench.serving.batches import Batches
        from vla_bench.bench.serving.translation import Translation
        from vla_bench.bench.serving.websocket import PolicyService
        from vla_bench.policies.one_slot import OneSlotPolicy
    except ImportError as error:
        raise ConfigError(f"serving needs the package {error.name!r}: {installing('remote')}") from error
    mapping = load_mapping(arguments.mapping or raw_mapping(arguments.protocol, environment))
    if mapping.protocol != arguments.protocol:
        raise ConfigError(f"--mapping {mapping.name} is of the protocol {mapping.protocol}, not {arguments.protocol}")
    make = partial(make_policy, config.policy, environment)
    print(f"building {config.policy.target} ...", file=sys.stderr, flush=True)
    policy = make()
    if policy.spec.privileged:
        policy.close()
        raise PolicyError(f"policy {policy.spec.name!r} is shown the simulator's state, which no client sends")
    served: Policy = policy
    if isinstance(policy, OneSlotPolicy):

        def another() -> OneSlotPolicy:
            made = make()
            assert isinstance(made, OneSlotPolicy)
            return made

        served = PolicyPerSlot(policy, another)
    translation = Translation(mapping, served.spec, environment)
    batches = Batches(served)
    service = PolicyService(arguments.protocol, batches, translation, served.spec, name=arguments.name)
    try:
        _serve(service, arguments.host, arguments.port, tls, f"{served.spec.name} ({mapping.name})")
    except OSError as error:
        raise ConfigError(f"cannot listen on {arguments.host}:{arguments.port}: {error.strerror or error}") from None
    finally:
        batches.stop()
    return 0


def _tls(certificate: str, key: str) -> ssl.SSLContext | None:
    if not certificate:
        if key:
            raise ConfigError("--key needs --certificate")
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        words = f"--certificate {certificate}{f' --key {key}' if key else ''}"
        raise ConfigError(f"{words}: {error.strerror or error}; a certificate and its key as PEM are wanted") from None
    return context


def _serve(service: PolicyService, host: str, port: int, tls: ssl.SSLContext | None, what: str) -> None:
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    taken = service.start(host, port, tls)
    print(f"serving {what} on {host}:{taken}; Ctrl-C ends it", flush=True)
    if host != LOOPBACK:
        print("anybody who reaches this address can use it; the protocols have no passwords", file=sys.stderr)
    stop.wait()
    service.stop()
