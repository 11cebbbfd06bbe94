"""Pictures of every page, narrow and wide, light and dark: `python -m tests.pictures [--system FOLDER] [--to FOLDER]`.

The list of machines is that of a market with some hundred of them; all other pages are those of a local system, which is started
unless --system names the `.local` folder of one that is up. Each page gives four pictures of its whole length to look at, and one
small sheet of them all.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from bittensor import Wallet
from PIL import Image

from deployments.localnet.chain.actors import dev_wallet
from deployments.localnet.engine import PLAIN_IMAGE
from tests.deployments.marketplace.pages.browser import chromium
from tests.deployments.marketplace.pages.stories import prove_hotkey, renter, sign_in
from tests.deployments.marketplace.serving import served
from tests.deployments.marketplace.world import SSH_KEY, world
from tests.local_systems import REPOSITORY, LocalSystem, local_system, wait_until
from tests.tasks.renting.leases import USD, offer

WIDE, NARROW = {"width": 1_920, "height": 1_080}, {"width": 360, "height": 780}
SCHEMES = ("light", "dark")
SHEET_HEIGHT, GAP, QUALITY = 360, 8, 55
LONGEST = 6_000
"""Pixels of a picture to look at."""
MODELS = (
    ("L4", 24, 0.32),
    ("GeForce RTX 3090", 24, 0.22),
    ("GeForce RTX 4090", 24, 0.38),
    ("RTX A6000", 48, 0.49),
    ("L40S", 48, 0.86),
    ("A100-SXM4-80GB", 80, 1.2),
    ("H100 80GB HBM3", 80, 2.1),
    ("H200", 141, 2.7),
)
WORKS = (
    "i=0; while true; do i=$((i+1)); echo step $i of 5000, loss 2.$((831 - i % 800)); "
    "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); done; sleep 1; done"
)


def main() -> int:
    """Take them all."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.pictures", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--system", type=Path, help="the `.local` folder of a system that is up")
    parser.add_argument("--to", type=Path, default=REPOSITORY / ".local" / "pictures", help="where they go")
    asked = parser.parse_args()
    asked.to.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        browser = stack.enter_context(chromium())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        take(
            browser,
            stack.enter_context(_market(folder)),
            {"machines": "/", "cards": "/?look=cards&min_vram_gib=80"},
            asked.to,
        )
        system = (
            LocalSystem(asked.system)
            if asked.system
            else stack.enter_context(local_system(folder / "system"))
        )
        _of_system(browser, system, asked.to)
    return 0


@contextmanager
def _market(folder: Path) -> Iterator[str]:
    """The URL of a market with machines of all kinds; always the same ones."""
    chance = random.Random(7)
    with world(folder, machines=0) as made:
        for n in range(400):
            model, vram, usd = chance.choice(MODELS)
            made.machines.append(
                offer(
                    f"5{''.join(chance.choices('ABCDEFGHJKLMNPQRSTUVWXYZ', k=47))}/node-{n:03}",
                    cards=chance.choice((1, 1, 2, 4, 8)),
                    model=model,
                    vram_gib=float(vram),
                    micro_usd_per_card_hour=round(usd * USD * chance.lognormvariate(0, 0.22)),
                    performance=min(1.0, chance.gauss(0.93, 0.04)),
                    reliability=min(1.0, 1 - abs(chance.gauss(0, 0.02))),
                    region=chance.choice(("eu-north", "eu-west", "us-east", "us-west", "asia")),
                    epoch=4_812,
                )
            )
        with served(made.app) as url:
            yield url


def _of_system(browser: Any, system: LocalSystem, to: Path) -> None:
    key = renter(system, "ada", 250)
    with httpx.Client(
        base_url=system.market, headers={"Authorization": f"Bearer {key}"}, trust_env=False, timeout=30
    ) as client:
        lease = _furnish(client)
        machine = client.get("/v1/offers", params={"sort": "price"}).json()["items"][0]["executor_key"]
        at = f"/leases/{lease}"
        paths = {
            "sign-in": "/sign-in",
            "sign-up": "/sign-up",
            "network": "/network",
            "machine": f"/machines/{machine}",
        }
        take(browser, system.market, paths, to)
        paths = {
            "rent": f"/rent?machine={machine}",
            "leases": "/leases",
            "lease": at,
            "logs": f"{at}/logs",
            "console": f"{at}/console",
            "backups": f"{at}/backups",
            "volumes": "/volumes",
            "account": "/account",
            "templates": "/account/templates",
            "webhooks": "/account/webhooks",
            "refusal": "/leases/lease-0000000000000000",
        }
        take(browser, system.market, paths, to, lambda page: sign_in(page, key))
        client.delete(at)
    miner = dev_wallet("basalt").hotkey.ss58_address
    paths = {
        "hotkey": f"/sign-in/hotkey?hotkey={miner}",
        "miner": "/miner",
        "miner-machine": "/miner/machines/basalt-1",
        "miner-estimate": "/miner/estimate",
    }
    take(browser, system.market, paths, to, lambda page: _prove(page, system, "basalt", miner))
    validator = Wallet(
        "validator", "default", path=str(system.place / "localnet" / "wallets")
    ).hotkey.ss58_address
    take(
        browser,
        system.market,
        {"operator": "/operator"},
        to,
        lambda page: _prove(page, system, "validator", validator),
    )


def _furnish(client: httpx.Client) -> str:
    """Keys, templates, a webhook, a lease that is over and one that works for a while; its name."""
    client.post("/v1/ssh-keys", json={"name": "laptop", "public_line": SSH_KEY}).raise_for_status()
    pod = {"image": "registry.example/me/train:3", "shm_bytes": 8 << 30, "ports": [{"inside": 8888}]}
    client.post(
        "/v1/templates", json={"name": "train", "about": "nightly training", "pod": pod}
    ).raise_for_status()
    hook = {"url": "https://hooks.example.com/leases", "kinds": ["ACTIVE", "ENDED", "NOTICE"]}
    client.post("/v1/webhooks", json=hook).raise_for_status()
    first = _rented(client, "first", "A100-SXM4-80GB", {"image": PLAIN_IMAGE})
    client.delete(f"/v1/leases/{first}").raise_for_status()
    works = {
        "image": PLAIN_IMAGE,
        "words": ["sh", "-c", WORKS],
        "ports": [{"inside": 8888}],
        "mounts": [{"volume": "data", "at": "/data"}],
    }
    return _rented(client, "second", "H100 80GB HBM3", works)


def _rented(client: httpx.Client, name: str, model: str, pod: dict[str, Any]) -> str:
    """A lease, once it is handed over."""
    body = {"wish": {"model": model, "card_count": 2}, "pod": pod, "terms": {"ttl_s": 6 * 3_600}}
    answer = client.post("/v1/leases", json=body, headers={"Idempotency-Key": f"pictures-{name}"})
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    lease = str(answer.json()["lease_id"])
    wait_until(lambda: client.get(f"/v1/leases/{lease}").json()["state"] == "active", 120, 1.0)
    return lease


def _prove(page: Any, system: LocalSystem, wallet: str, hotkey: str) -> None:
    page.goto("/sign-in/hotkey")
    prove_hotkey(page, system, wallet, hotkey)
    page.wait_for_url("**/miner")


def take(browser: Any, url: str, paths: dict[str, str], to: Path, enter: Any = None) -> None:
    """Four pictures of each page and their sheet, by whoever `enter` makes of the browser."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    if enter:
        enter(page)
    for name, path in paths.items():
        seen = {}
        for scheme in SCHEMES:
            for size in (WIDE, NARROW):
                page.emulate_media(color_scheme=scheme)
                page.set_viewport_size(size)
                page.goto(path)
                page.wait_for_timeout(12_000 if name == "lease" and not seen else 700)
                seen[size["width"], scheme] = file = to / f"{name}-{size['width']}-{scheme}.png"
                page.screenshot(path=to / f".{name}.png")
                height = min(LONGEST, page.evaluate("document.documentElement.scrollHeight"))
                page.screenshot(
                    path=file, full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": height}
                )
                (to / f".{name}.png").rename(to / f".{name}-{size['width']}-{scheme}.png")
        _sheet([to / f".{path.name}" for path in seen.values()], to / f"{name}.webp")
    context.close()


def _sheet(files: list[Path], to: Path) -> None:
    """All of them beside each other, as first seen."""
    shown = []
    for file in files:
        with Image.open(file) as image:
            wide = round(image.width * SHEET_HEIGHT / image.height)
            shown.append(image.convert("RGB").resize((wide, SHEET_HEIGHT), Image.Resampling.LANCZOS))
        file.unlink()
    sheet = Image.new("RGB", (sum(one.width + GAP for one in shown) - GAP, SHEET_HEIGHT), "#808890")
    left = 0
    for one in shown:
        sheet.paste(one, (left, 0))
        left += one.width + GAP
    sheet.save(to, quality=QUALITY, method=6)


if __name__ == "__main__":
    raise SystemExit(main())
