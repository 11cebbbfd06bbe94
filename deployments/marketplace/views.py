"""Records as they are answered."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from datetime import datetime
from hashlib import blake2s

from deployments.marketplace import models
from deployments.marketplace.builtin import BUILTIN, Builtin
from deployments.marketplace.fields import usd
from deployments.marketplace.models import Json
from storage import rental as nouns
from storage import renter as kept
from storage.health import Metric
from tasks.inspection import models as gpu_models
from tasks.renting.metering import cost_micro_usd
from tasks.renting.moves import CLOSED

HOW_TO_CHECK = (
    "Save this answer as a file and run `subnet rent certificate verify FILE`: it derives every challenge from the "
    "transcript's own seeds, recomputes what was opened, and judges again by its own arithmetic, without asking anybody "
    "(docs/gpu-proof.md says what a transcript can and can't tell)."
)
_ENDING = "its end is asked for: nothing more is charged, and it is gone as soon as its machine is clean"
Opener = Callable[[nouns.Rental], Mapping[str, object]]
"""Opens a lease's secrets, for who may see its links."""


def offer(one: nouns.Offer, free: int) -> models.Offer:
    """A machine, with so many free cards."""
    per_card = one.micro_usd_per_card_hour
    return models.Offer(
        executor_key=one.executor_key,
        model=one.model,
        vram_gib=round(one.vram_gib, 2),
        card_count=len(one.card_uuids),
        free_card_count=free,
        min_card_count=min(one.min_cards, len(one.card_uuids)),
        micro_usd_per_card_hour=per_card,
        usd_per_card_hour=usd(per_card),
        micro_usd_per_hour=one.micro_usd_per_hour,
        usd_per_hour=usd(one.micro_usd_per_hour),
        performance=round(one.performance, 4),
        bandwidth_gb_s=round(bandwidth_of(one), 1),
        performance_per_usd=round(value_of(one), 4),
        reliability=round(one.reliability, 4),
        region=one.region,
        epoch=one.epoch,
    )


def bandwidth_of(one: nouns.Offer) -> float:
    """Proved memory bandwidth of a card, 1e9 bytes a second; 0 for a model that we have no figure of."""
    model = gpu_models.find(one.model)
    return one.performance * model.bandwidth_gb_s if model else 0.0


def value_of(one: nouns.Offer) -> float:
    """Proved performance over the USD an hour of one card; a free one counts as a millionth of a USD."""
    return one.performance / (max(one.micro_usd_per_card_hour, 1) / 1e6)


def lease(
    one: nouns.Rental,
    now: datetime,
    *,
    is_queued: bool,
    detail: str = "",
    steps: Iterable[nouns.LeaseEvent] = (),
    open_secrets: Opener | None = None,
) -> models.Lease:
    """A lease as it stands."""
    cost = cost_micro_usd(one, now)
    return models.Lease(
        lease_id=one.lease_id,
        state=_state(one),
        version=one.version,
        queued=is_queued,
        detail=_ENDING if _is_ending(one) else detail,
        wish=models.Wish(**asdict(one.wish)),
        pod=pod(one.pod),
        terms=models.Terms(**asdict(one.terms)),
        executor_key=one.executor_key,
        card_uuids=one.card_uuids,
        micro_usd_per_hour=one.micro_usd_per_hour,
        usd_per_hour=usd(one.micro_usd_per_hour),
        cost_micro_usd=cost,
        cost_usd=usd(cost),
        access=None if one.access is None else access(one, one.access, open_secrets),
        requested_at=one.requested_at,
        active_at=one.active_at,
        stopped_at=one.stopped_at,
        ended_at=one.ended_at,
        ends_by=one.ends_by,
        end_asked_at=one.end_asked_at,
        notice_until=one.notice_until,
        party=one.party,
        reason=one.reason,
        steps=_steps(one, steps),
        tried=one.tried,
    )


def _is_ending(one: nouns.Rental) -> bool:
    return one.end_asked_at is not None and one.state not in CLOSED


def _state(one: nouns.Rental) -> nouns.RentalState:
    """As its renter sees it: once its end is asked for there is no way back, whoever still works on it."""
    return nouns.RentalState.ENDING if _is_ending(one) else one.state


def pod(one: nouns.Pod) -> models.Pod:
    """What runs."""
    return models.Pod(
        **asdict(one)
        | {
            "ports": tuple(models.PortBody.model_construct(**asdict(port)) for port in one.ports),
            "mounts": tuple(models.MountBody.model_construct(**asdict(mount)) for mount in one.mounts),
        }
    )


def access(one: nouns.Rental, found: nouns.Access, open_secrets: Opener | None) -> models.Access:
    """How to reach it."""
    return models.Access(
        address=found.address,
        ssh_port=found.ssh_port,
        ports=tuple(models.PublishedPort(**asdict(port)) for port in found.ports),
        host_key=found.host_key,
        ssh_command=f"ssh -p {found.ssh_port} root@{found.address}",
        image_digest=found.image_digest,
        container=found.container,
        links=() if open_secrets is None else links(one, found, open_secrets),
    )


def links(one: nouns.Rental, found: nouns.Access, open_secrets: Opener) -> tuple[models.Link, ...]:
    """The pages that its template's container serves, with their tokens: those that it was given tell that it does."""
    template = BUILTIN.get(one.pod.template)
    if template is None or one.state is not nouns.RentalState.ACTIVE:
        return ()
    if not set(template.tokens) <= set(one.pod.environment):
        return ()
    variables = open_secrets(one).get("environment")
    assert isinstance(variables, dict | None)
    host = f"[{found.address}]" if ":" in found.address else found.address
    outside = {port.inside: port.outside for port in found.ports if port.protocol == "tcp"}
    return tuple(
        models.Link(
            name=link.name, url=f"http://{host}:{outside[link.port]}{_filled(link.path, variables or {})}"
        )
        for link in template.links
        if link.port in outside
    )


def operation(one: nouns.Operation, *, is_queued: bool) -> models.Operation:
    """An operation as it stands."""
    return models.Operation(
        operation_id=one.operation_id,
        lease_id=one.lease_id,
        kind=one.kind,
        state=one.state,
        queued=is_queued,
        asked_at=one.asked_at,
        begun_at=one.begun_at,
        ended_at=one.ended_at,
        arguments=_json(one.arguments),
        party=one.party,
        reason=one.reason,
        result=_json(one.result),
    )


def event(one: nouns.LeaseEvent) -> models.LeaseEvent:
    """What happened, as feeds and webhooks tell it."""
    return models.LeaseEvent(
        sequence=one.sequence,
        lease_id=one.lease_id,
        at=one.at,
        kind=one.kind,
        message=one.message,
        facts=_json(one.facts),
    )


def sample(one: Metric) -> models.Sample:
    """What a lease used at a moment."""
    return models.Sample(
        at=one.at,
        cards=tuple(
            models.CardUse(
                card_uuid=card.uuid,
                use_percent=card.percent,
                memory_used_mib=card.memory_mib,
                memory_total_mib=card.memory_total_mib,
                temperature_c=card.temperature_c,
                power_w=card.power_w,
                power_limit_w=card.power_limit_w,
            )
            for card in one.cards
        ),
        cpu_percent=one.cpu_percent,
        memory_bytes=one.memory_bytes,
        memory_limit_bytes=one.memory_limit_bytes,
        received_bytes=one.received_bytes,
        sent_bytes=one.sent_bytes,
        read_bytes=one.read_bytes,
        written_bytes=one.written_bytes,
        pids=one.pids,
    )


def certificate(lease_id: str, found: Iterable[nouns.Certificate]) -> models.Certificate:
    """The proofs of a lease's cards, whole."""
    return models.Certificate(
        lease_id=lease_id,
        proofs=tuple(
            models.Proof(
                attempt=one.attempt,
                occasion=one.occasion,
                at=one.at,
                executor_key=one.executor_key,
                code=one.code,
                card_uuids=one.card_uuids,
                verdict=_json(one.verdict),
                transcript=base64.b64encode(one.transcript).decode(),
                transcript_blake2s=blake2s(one.transcript).hexdigest(),
            )
            for one in found
        ),
        how_to_check=HOW_TO_CHECK,
    )


def line(one: nouns.Transfer, account: str) -> models.Line:
    """A transfer, as one account has it."""
    moved = sum(entry.micro_usd for entry in one.entries if entry.account == account)
    return models.Line(
        transfer_id=one.transfer_id,
        at=one.at,
        kind=one.kind,
        lease_id=one.lease_id,
        micro_usd=moved,
        usd=usd(moved),
        message=one.message,
    )


def volume(one: nouns.Volume) -> models.Volume:
    """A volume."""
    return models.Volume(**{name: getattr(one, name) for name in models.Volume.model_fields})


def backup(one: nouns.Backup) -> models.Backup:
    """A backup."""
    return models.Backup(**{name: getattr(one, name) for name in models.Backup.model_fields})


def own_template(one: kept.Template, body: models.PodBody) -> models.Template:
    """A renter's own template."""
    return models.Template(
        name=one.name,
        about=one.about,
        is_own=True,
        seen_running=False,
        note="yours: what it does is up to you",
        pod=_template_pod(body),
        links=(),
        created_at=one.created_at,
        updated_at=one.updated_at,
    )


def builtin_template(one: Builtin) -> models.Template:
    """A template of ours."""
    return models.Template(
        name=one.name,
        about=one.about,
        is_own=False,
        seen_running=one.seen_running,
        note=one.note,
        pod=_template_pod(one.pod.model_copy(update={"environment": dict.fromkeys(one.tokens, "")})),
        links=one.links,
        created_at=None,
        updated_at=None,
    )


def ssh_key(one: kept.SshKey) -> models.SshKey:
    """A public key."""
    return models.SshKey(**{name: getattr(one, name) for name in models.SshKey.model_fields})


def api_key(one: kept.ApiKey) -> models.ApiKey:
    """A key, without its digest."""
    return models.ApiKey(**{name: getattr(one, name) for name in models.ApiKey.model_fields})


def webhook(one: kept.Webhook) -> models.Webhook:
    """A webhook, without its secret."""
    values: Json = {"is_enabled": one.disabled_at is None}
    names = set(models.Webhook.model_fields) - set(values)
    return models.Webhook(**values, **{name: getattr(one, name) for name in names})


def delivery(one: kept.Delivery) -> models.Delivery:
    """A delivery."""
    waits = one.state is kept.DeliveryState.WAITING
    values: Json = {"next_at": one.next_at if waits else None, "http_status": one.http_status or None}
    names = set(models.Delivery.model_fields) - set(values)
    return models.Delivery(**values, **{name: getattr(one, name) for name in names})


def _template_pod(body: models.PodBody) -> models.Pod:
    base = asdict(nouns.Pod())
    given = {
        name: getattr(body, name)
        for name in base
        if name != "environment" and getattr(body, name, None) is not None
    }
    return models.Pod(**{**base, **given, "environment": tuple(sorted(body.environment or ()))})


def _steps(one: nouns.Rental, events: Iterable[nouns.LeaseEvent]) -> tuple[models.Step, ...]:
    """The steps of the present attempt, each as it was told last."""
    found: dict[str, models.Step] = {}
    for told in events:
        facts = _json(told.facts)
        if told.kind == "STEP" and facts.get("attempt") == one.attempt:
            found[str(facts.get("name"))] = models.Step(
                name=str(facts.get("name")),
                seconds=round(float(facts.get("seconds") or 0.0), 3),
                state=str(facts.get("state") or "running"),
                party=nouns.Party(str(facts.get("party") or nouns.Party.NOBODY)),
                why=told.message,
            )
    return tuple(found.values())


def _filled(path: str, variables: Mapping[str, object]) -> str:
    for name, value in variables.items():
        path = path.replace("{" + name + "}", str(value))
    return path


def _json(text: str) -> Json:
    found = json.loads(text)
    return found if isinstance(found, dict) else {"value": found}
