"""A registry of images for tests: HTTP on loopback, one image, and a password if one is asked for.

It speaks as much of the distribution API as a pull needs: the version check, manifests by tag and digest, blobs.
"""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import json
import platform
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


def digest_of(content: bytes) -> str:
    """As registries name content."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Registry:
    """What it has, and whom it has seen."""

    address: str = ""
    manifest: bytes = b""
    blobs: dict[str, bytes] = field(default_factory=dict)
    password: str = ""
    requests: list[str] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """Of its image."""
        return digest_of(self.manifest)

    def reference(self, name: str = "team/image", tag: str = "1") -> str:
        """The image by tag."""
        return f"{self.address}/{name}:{tag}"


def image(
    root: bytes, entrypoint: Sequence[str] = (), command: Sequence[str] = ()
) -> tuple[bytes, dict[str, bytes]]:
    """Manifest and blobs of an image of one layer."""
    layer = gzip.compress(root, 1, mtime=0)
    config = json.dumps(
        {
            "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
            "os": "linux",
            "config": {
                "Entrypoint": list(entrypoint),
                "Cmd": list(command),
                "Env": ["PATH=/tools:/bin:/usr/bin"],
            },
            "rootfs": {"type": "layers", "diff_ids": [digest_of(root)]},
            "history": [{"created": "2026-01-01T00:00:00Z"}],
        }
    ).encode()
    blobs = {digest_of(blob): blob for blob in (layer, config)}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "size": len(config), "digest": digest_of(config)},
        "layers": [{"mediaType": LAYER, "size": len(layer), "digest": digest_of(layer)}],
    }
    return json.dumps(manifest).encode(), blobs


class Server(ThreadingHTTPServer):
    """A server that knows its registry."""

    registry: Registry


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        registry = self.server.registry
        registry.requests.append(f"{self.command} {self.path}")
        if registry.password and self.headers.get("Authorization") != expected(registry.password):
            self.say(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}')
        else:
            self.say(*self.found(registry))

    def found(self, registry: Registry) -> tuple[int, bytes, str]:
        what, _, name = self.path.partition("/v2/team/image/")[2].partition("/")
        if self.path == "/v2/":
            return 200, b"{}", "application/json"
        if what == "manifests" and name in ("1", registry.digest):
            return 200, registry.manifest, MANIFEST
        if what == "blobs" and name in registry.blobs:
            return 200, registry.blobs[name], "application/octet-stream"
        return (
            404,
            b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}',
            "application/json",
        )

    def say(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Content-Digest", digest_of(content))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(
    root: bytes, *, password: str = "", entrypoint: Sequence[str] = (), command: Sequence[str] = ()
) -> Iterator[Registry]:
    """Serve one image as team/image:1, to everybody or to `renter` with this password."""
    manifest, blobs = image(root, entrypoint, command)
    server = Server(("127.0.0.1", 0), Handler)
    server.registry = Registry(f"127.0.0.1:{server.server_port}", manifest, blobs, password)
    thread = threading.Thread(target=server.serve_forever, name="registry")
    thread.start()
    try:
        yield server.registry
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def expected(password: str) -> str:
    """The header of the one user that is let in."""
    return "Basic " + base64.b64encode(f"renter:{password}".encode()).decode()
