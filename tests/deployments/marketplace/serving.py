"""The app behind a real server on loopback, for what needs one: feeds, clients that go away."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import httpx
import uvicorn


@contextmanager
def served(app):
    """The server's URL, for as long as the block lasts."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn")
    thread.start()
    try:
        while not server.started:
            thread.join(0.01)
            assert thread.is_alive()
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def feed(url, path, token, *, after=None):
    """The events of a feed, one by one: (kind, id, data); a comment is (`:`, ``, its text)."""
    headers = {"Authorization": f"Bearer {token}", **({"Last-Event-ID": after} if after else {})}
    with httpx.stream("GET", url + path, headers=headers, timeout=20, trust_env=False) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _events(answer.iter_lines())


def _events(lines):
    kind, name, data = "", "", []
    for line in lines:
        if line.startswith(":"):
            yield ":", "", line[1:].strip()
        elif not line and kind:
            yield kind, name, "\n".join(data)
            kind, name, data = "", "", []
        elif line:
            field, _, value = line.partition(": ")
            kind = value if field == "event" else kind
            name = value if field == "id" else name
            data += [value] if field == "data" else []
