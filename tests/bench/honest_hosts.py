"""Honest machines for the bench, in one process: `python -m tests.bench.honest_hosts NUMBER WAIT_S`.

Each has a port and a host key of its own, lets everybody in and speaks the frames of `tasks/inspection/remote.py`: facts as a
server with eight H100 gives them, after a wait, and both ends of a bandwidth probe. It prints one line of JSON, {port: host key
in hex}, and ends when its stdin does.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import sys

import asyncssh

from tasks.inspection.facts import COMMANDS, FactOutput
from tests.tasks.inspection.outputs import outputs


def main(number: int, wait_s: float) -> None:
    """Serve until stdin ends."""
    asyncio.run(_serve(number, wait_s))


async def _serve(number: int, wait_s: float) -> None:
    told, facts = {}, _facts()

    async def talk(process: asyncssh.SSHServerProcess[bytes]) -> None:
        try:
            await _talk(process, facts, wait_s)
        except (asyncio.IncompleteReadError, asyncssh.Error, OSError):
            process.exit(1)

    for _ in range(number):
        key = asyncssh.generate_private_key("ssh-ed25519")
        acceptor = await asyncssh.create_server(
            _Door, "127.0.0.1", 0, server_host_keys=[key], process_factory=talk, encoding=None
        )
        told[acceptor.get_port()] = key.public_data.hex()
    print(json.dumps(told), flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    os._exit(0)


class _Door(asyncssh.SSHServer):
    """Every key opens it."""

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, _username: str, _key: asyncssh.SSHKey) -> bool:
        return True


async def _talk(process: asyncssh.SSHServerProcess[bytes], facts: bytes, wait_s: float) -> None:
    await _read(process)  # the program
    while True:
        request = json.loads(await _read(process))
        if request["do"] == "facts":
            await asyncio.sleep(wait_s)
            answer = facts
        elif request["do"] == "source":
            answer = bytes(request["bytes"])
        else:
            digest = hashlib.blake2s(await _read(process)).hexdigest()
            answer = json.dumps({"digest": digest}).encode()
        process.stdout.write(len(answer).to_bytes(4, "big") + answer)
        await process.stdout.drain()


async def _read(process: asyncssh.SSHServerProcess[bytes]) -> bytes:
    size = int.from_bytes(await process.stdin.readexactly(4), "big")
    return bytes(await process.stdin.readexactly(size))


def _facts() -> bytes:
    every = outputs()
    return json.dumps({"facts": [_fact(every[command.name]) for command in COMMANDS]}).encode()


def _fact(output: FactOutput) -> dict[str, object]:
    return {
        "name": output.name,
        "exit": output.exit_code,
        "stdout": base64.b64encode(output.stdout).decode(),
        "stderr": base64.b64encode(output.stderr).decode(),
        "seconds": 0.1,
        "truncated": False,
    }


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
