"""The clients of a served policy: openpi's and vla-eval's protocols, and the health routes.

One thread reads what all clients ask; whoever has decided sends the answer: the same thread for a quick policy with one
client, else the one that decides for all. A client over TLS has a thread of its own, which also answers it.
"""

from __future__ import annotations

import http
import json
import logging
import ssl
import threading
from typing import Any, cast

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, serve

from vla_bench.bench.serving.batches import Batches
from vla_bench.bench.serving.connection import ServedConnection
from vla_bench.bench.serving.reading import Reading
from vla_bench.bench.serving.talks import TALKS, Client
from vla_bench.bench.serving.translation import Translation
from vla_bench.policies.base import PolicySpec
from vla_bench.policies.remote.codecs.bounds import LARGEST_MESSAGE

MOST_CLIENTS = 1024
OPEN_SECONDS, CLOSE_SECONDS = 10.0, 1.0
PROTOCOLS = tuple(TALKS)


class PolicyService:
    """One policy behind one port."""

    def __init__(
        self,
        protocol: str,
        batches: Batches,
        translation: Translation,
        spec: PolicySpec,
        *,
        name: str = "",
        largest: int = LARGEST_MESSAGE,
    ) -> None:
        self._batches = batches
        self._talk = TALKS[protocol](batches, translation, spec, name or spec.name, largest)
        self._largest = largest
        self._reading = Reading()
        self._slots: set[int] = set()
        self._entry = threading.Lock()
        self._server: Server | None = None

    def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Listens, and returns the port (another one for 0). OSError: it is taken."""
        logging.getLogger("websockets").setLevel(logging.CRITICAL)
        self._server = serve(
            cast(Any, self._serve),
            host,
            port,
            ssl=tls,
            process_request=cast(Any, self._health),
            compression=None,
            max_size=self._largest,
            ping_interval=None,
            open_timeout=OPEN_SECONDS,
            close_timeout=CLOSE_SECONDS,
            create_connection=cast(Any, ServedConnection),
        )
        threading.Thread(target=self._server.serve_forever, name="listen", daemon=True).start()
        return self._server.socket.getsockname()[1]

    def stop(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            self._server.shutdown()
        self._reading.stop()

    def _health(self, connection: ServedConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path == "/healthz":
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        if path == "/health":
            response = connection.respond(http.HTTPStatus.OK, json.dumps({"status": "ok"}) + "\n")
            del response.headers["Content-Type"]
            response.headers["Content-Type"] = "application/json"
            return response
        if len(self._slots) >= MOST_CLIENTS:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "too many clients\n")
        return None

    def _serve(self, connection: ServedConnection) -> None:
        with self._entry:
            slot = next(number for number in range(len(self._slots) + 1) if number not in self._slots)
            self._slots.add(slot)
        self._batches.joined()
        try:
            client = self._talk.meet(connection, slot)
            if connection.answered_by_any:
                self._have_read(client)
            else:
                for message in connection:
                    connection.messages.appendleft(message)
                    client.take(self._talk)
        except (ConnectionClosed, OSError):
            pass
        finally:
            self._batches.left(slot)
            with self._entry:
                self._slots.discard(slot)

    def _have_read(self, client: Client) -> None:
        """Has one thread read it, with all others, until its end."""
        connection, reading = client.connection, self._reading

        def take() -> None:
            client.take(self._talk)

        def go_on() -> None:
            if connection.messages:
                reading.look(connection, take)

        client.done = go_on
        connection.look = lambda: reading.look(connection, take)
        connection.look()
        connection.read_to_end.wait()
