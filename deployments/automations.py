"""Automations of a validator's Prefect server, as code: what is told to whom, and what is done about it.

    no epoch began in time | an epoch did not end in time | weights did not land | no weights for long | the pass rate fell
    | a budget exhausted | a pool without workers | a run that crashed or failed  -> the notification block
    a run without heartbeat                                                       -> crashed

Made so that repeating it changes nothing, and that what is not wanted any more goes. The block is found by its name; its
address is a secret of its own, in Prefect's database or in a file, never here. Events: `tasks/alarming.py`, and Prefect's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import httpx
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ActionTypes, ChangeFlowRunState, SendNotification
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.events.schemas.events import ResourceSpecification
from prefect.exceptions import PrefectException

from deployments.pace import Pace
from deployments.prefect_client import client_of
from tasks.alarming import (
    BUDGET_EXHAUSTED,
    EPOCH_BEGAN,
    EPOCH_ENDED,
    PASS_RATE_FELL,
    WEIGHTS_SET,
    WEIGHTS_TROUBLE,
)
from tasks.announcing import ABOUT, epoch_resource, validator_resource

SILENCE = timedelta(seconds=180)
"""Three heartbeats of prefect.toml."""
AUTOMATION = "flow runs without a heartbeat are crashed"
SIGNS = ("prefect.flow-run.heartbeat", "prefect.flow-run.Pending", "prefect.flow-run.Running")
"""After each of them another one is due: a run may be killed before its first heartbeat."""
OURS = "subnet "
"""So begin the names of automations that tell somebody, with the subnet's number behind it."""
BLOCK = "subnet-alerts"
MISSED_EPOCHS = 2.5
"""So many intervals without a beginning are too many: one may be skipped, since an epoch that is late skips the next."""
MISSED_TEMPOS = 3
REPEAT = timedelta(hours=1)
"""What goes on is told again so often, not in every epoch."""
LEAST = timedelta(seconds=10)
"""Prefect looks no oftener for what does not come."""
MOST = 200
"""Automations of a server that are looked through."""
FLOWS = ("validate", "report", "keep", "watch")
"""Those that nobody waits for; a lease's own flows tell their renter."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """One automation that tells somebody."""

    name: str
    trigger: EventTrigger
    text: str
    """Jinja of Prefect's; of an event that did not come there is none to quote."""


def alarms(netuid: int, pace: Pace) -> Iterator[Alarm]:
    """Everything that an operator is told of a validator at this pace."""
    epochs = {"prefect.resource.id": epoch_resource(netuid, "*")}
    validator = {"prefect.resource.id": validator_resource(netuid)}
    missed = timedelta(seconds=MISSED_EPOCHS * pace.epoch_s)
    yield Alarm(
        "no epoch began in time",
        _missing(epochs, EPOCH_BEGAN, missed),
        f"No epoch of subnet {netuid} has begun for {missed}: see the worker of the pool `validator`, the chain and the state.",
    )
    yield Alarm(
        "an epoch did not end in time",
        _missing(epochs, EPOCH_ENDED, timedelta(seconds=pace.epoch_s), EPOCH_BEGAN),
        "{{ event.resource.name }} has not ended when the next one was due: see its flow run.",
    )
    yield Alarm("weights did not land", _came(validator, WEIGHTS_TROUBLE, each=ABOUT), _QUOTED)
    unset = timedelta(seconds=max(MISSED_TEMPOS * pace.tempo_s, missed.total_seconds()))
    yield Alarm(
        "no weights for long",
        _missing(validator, WEIGHTS_SET, unset),
        f"No weights of subnet {netuid} were set for {unset}: see `subnet show`, and the stake and permit of the hotkey.",
    )
    yield Alarm("the pass rate fell", _came(validator, PASS_RATE_FELL, each=ABOUT), _QUOTED)
    yield Alarm("a budget is exhausted", _came(validator, BUDGET_EXHAUSTED, each=ABOUT), _QUOTED)
    yield Alarm(
        "a pool has no worker",
        _came(
            {"prefect.resource.id": "prefect.work-pool.*"},
            "prefect.work-pool.not-ready",
            each="prefect.resource.id",
        ),
        "No worker of the pool {{ event.resource.name }} gives a sign of life.",
    )
    yield Alarm(
        "a run crashed or failed",
        _came(
            {"prefect.resource.id": "prefect.flow-run.*"},
            "prefect.flow-run.Crashed",
            "prefect.flow-run.Failed",
            related={"prefect.resource.role": "flow", "prefect.resource.name": list(FLOWS)},
            each="related:flow:prefect.resource.name",
        ),
        "{{ event.resource.name }}: {{ event.payload.validated_state.name }}, {{ event.payload.validated_state.message }}",
    )


_QUOTED = "{{ event.payload.message }}"


def _came(
    resource: Mapping[str, str],
    *events: str,
    related: Mapping[str, str | list[str]] | None = None,
    each: str = "",
) -> EventTrigger:
    """One of these events came; told once in an hour, or once in it for each value of this label."""
    return EventTrigger(
        match=ResourceSpecification(dict(resource)),
        match_related=ResourceSpecification(dict(related or {})),
        expect=set(events),
        for_each={each} if each else set(),
        posture=Posture.Reactive,
        threshold=1,
        within=REPEAT,
    )


def _missing(resource: Mapping[str, str], event: str, within: timedelta, *after: str) -> EventTrigger:
    """The event does not come for so long; with `after`, behind one of those events of the same resource."""
    return EventTrigger(
        match=ResourceSpecification(dict(resource)),
        after=set(after),
        expect={event},
        for_each={"prefect.resource.id"} if after else set(),
        posture=Posture.Proactive,
        threshold=1,
        within=max(LEAST, within),
    )


def crash_silent_runs(silence: timedelta = SILENCE) -> AutomationCore:
    """After a sign of life, another event of the same run is expected within this time."""
    trigger = _missing(
        {"prefect.resource.id": "prefect.flow-run.*"},
        "prefect.flow-run.*",
        silence,
        *SIGNS,
    )
    mark = ChangeFlowRunState(
        name=None, state=StateType.CRASHED, message="no heartbeat: its process is gone", force=False
    )
    return _automation(AUTOMATION, "Of a process that was killed nobody else says so.", trigger, [mark])


def telling(netuid: int, pace: Pace, block: UUID) -> tuple[AutomationCore, ...]:
    """All automations that tell somebody, through this notification block."""
    return tuple(
        _automation(
            f"{OURS}{netuid}: {alarm.name}",
            "Made by `subnet deploy` and `subnet automations`.",
            alarm.trigger,
            [
                SendNotification(
                    block_document_id=block, subject=f"{OURS}{netuid}: {alarm.name}", body=alarm.text
                )
            ],
        )
        for alarm in alarms(netuid, pace)
    )


def _automation(
    name: str, description: str, trigger: EventTrigger, actions: list[ActionTypes]
) -> AutomationCore:
    return AutomationCore(name=name, description=description, enabled=True, trigger=trigger, actions=actions)


def ensure_crash_automation(environment: Mapping[str, str]) -> bool:
    """A run whose process was killed is marked as crashed: without this it stays Running for ever.

    False when the server would not have it now: that costs a mark in the UI, never an epoch.
    """
    try:
        with client_of(environment) as client:
            ensure(client, [crash_silent_runs()])
    except (PrefectException, httpx.HTTPError):
        return False
    return True


def ensure(client: SyncPrefectClient, wanted: Iterable[AutomationCore], prefix: str = "") -> tuple[str, ...]:
    """Make what is missing, change what is different, and take away what begins with `prefix` and is not wanted; what was done."""
    done, names = [], set()
    for automation in wanted:
        names.add(automation.name)
        found = client.read_automations_by_name(automation.name)
        for spare in found[1:]:  # a request that was repeated by a slow server's client made it twice
            client.delete_automation(spare.id)
        if not found:
            client.create_automation(automation)
            done.append(f"made: {automation.name}")
        elif not _is_same(found[0], automation):
            client.update_automation(found[0].id, automation)
            done.append(f"changed: {automation.name}")
    stale = [one for one in client.read_automations(limit=MOST) if prefix and one.name.startswith(prefix)]
    for one in stale:
        if one.name not in names:
            client.delete_automation(one.id)
            done.append(f"gone: {one.name}")
    return tuple(done)


def _is_same(found: AutomationCore, wanted: AutomationCore) -> bool:
    """Whether they do the same; whoever has switched one off has meant it."""
    return _compared(found) == _compared(wanted)


def _compared(one: AutomationCore) -> dict[str, object]:
    parts = one.model_dump(mode="json", include={"name", "description", "trigger", "actions"})
    parts["trigger"].pop("id", None)
    for key in ("after", "expect", "for_each"):
        parts["trigger"][key] = sorted(parts["trigger"][key])
    return parts
