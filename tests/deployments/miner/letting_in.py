"""One of several processes that write the same keys file: lets four validators in, several times over."""

import base64
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deployments.miner.keys import let_in
from tasks.onboarding.confinement.grants import Grant

NOW = datetime(2026, 11, 22, 9, 0, 0, tzinfo=UTC)

path, start = Path(sys.argv[1]), int(sys.argv[2])
for epoch in range(5):
    for number in range(start, start + 4):
        blob = b"\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20" + bytes([number + 1]) * 32
        line = "ssh-ed25519 " + base64.b64encode(blob).decode()
        hotkey = "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKut" + "ABCDEFGHJKLM"[number] * 2
        let_in(path, Grant(line, hotkey[:48], epoch, NOW + timedelta(hours=1)), now=NOW)
