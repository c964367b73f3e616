"""Whom a connection trusts, and what is said of a server that cannot be trusted."""

from __future__ import annotations

import os
import re
import ssl

from vla_bench.policies.errors import PolicyError
from vla_bench.policies.remote.connections.base import Dial

VARIABLES = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY")
ENVIRONMENT = "environment"
_PROXY = re.compile(r"(https?|socks5h?|socks4a?)://[^\s/]+/?")


def check_proxy(proxy: str) -> None:
    """PolicyError: it is none."""
    if proxy and proxy != ENVIRONMENT and not _PROXY.fullmatch(proxy):
        raise PolicyError(f"policy.proxy={proxy}: type http://host:port, or {ENVIRONMENT} for what https_proxy says")


def context(ca_file: str) -> ssl.SSLContext:
    """For a client. PolicyError: the file holds no certificates."""
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise PolicyError(
            f"policy.ca_file={ca_file}: {getattr(error, 'strerror', None) or error}; type the path of a PEM file with "
            "the server's certificate or that of its authority"
        ) from None


def distrust(where: str, error: BaseException | None) -> PolicyError | None:
    """What to say where TLS, in the error or what caused it, will not do however often it is tried; None: it is
    something else."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return PolicyError(
                f"the certificate of {where} is not trusted ({error.verify_message}): type policy.ca_file=<PEM file "
                "with it or with its authority's>"
            )
        if isinstance(error, ssl.SSLError) and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return PolicyError(f"{where} speaks no TLS: type policy.address={_plain(where)}")
        error = error.__cause__ or error.__context__
    return None


def hint(how: Dial, error: Exception) -> str:
    """What else may be wrong where nobody answers: TLS where there is none, or a proxy that nobody has asked for."""
    if isinstance(error, ssl.SSLEOFError):
        return f"; without TLS it would be {_plain(str(how.address))}"
    named = next((name for name in VARIABLES if os.environ.get(name)), "")
    if how.proxy or how.address.local or not named:
        return ""
    return f" ({named} is set, and is used with policy.proxy={ENVIRONMENT} alone)"


def _plain(where: str) -> str:
    return where.replace("wss://", "ws://").replace("https://", "http://")
