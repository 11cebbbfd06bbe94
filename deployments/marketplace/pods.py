"""From what a renter asks to run to the pod that is kept: its template, its keys, its secrets apart, checked as a whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic import ValidationError

from deployments.marketplace.builtin import BUILTIN, builtin
from deployments.marketplace.market import Desk
from deployments.marketplace.models import PodBody, RegistryBody
from deployments.marketplace.problems import Refused
from storage.rental import Pod, PodMount, PodPort
from storage.renter import Template
from tasks.edges.toolbox import MAX_KEYS
from tasks.renting.blocking import image_blocked
from tasks.renting.containers import ContainerSpec, Mount, Port, check_spec

SECRET_FIELDS = frozenset({"environment", "registry"})
_OUTSIDE = 20_000


@dataclass(frozen=True, slots=True)
class Secrets:
    """What of a pod is sealed."""

    environment: dict[str, str] = field(default_factory=dict, repr=False)
    registry: RegistryBody | None = field(default=None, repr=False)

    @property
    def values(self) -> dict[str, object]:
        """As they are sealed; nothing when there is nothing."""
        registry = {"registry": self.registry.model_dump()} if self.registry else {}
        environment = {"environment": self.environment} if self.environment else {}
        return {**environment, **registry}


def make_pod(desk: Desk, renter_id: str, body: PodBody) -> tuple[Pod, Secrets]:
    """The pod and its secrets; Refused or SpecRefused when it can't be run."""
    full = with_template(desk, renter_id, body)
    if full.image is None:
        raise Refused(
            422,
            "NO_IMAGE",
            "neither an image nor a template is named",
            "name one: GET /v1/templates lists them",
        )
    kept = Secrets(dict(full.environment or {}), full.registry)
    for name in _tokens(full):
        kept.environment.setdefault(name, secrets.token_urlsafe(24))
    pod = Pod(
        image=full.image,
        entrypoint=full.entrypoint or "",
        words=full.words or (),
        ports=tuple(PodPort(port.inside, port.protocol) for port in full.ports or ()),
        mounts=tuple(PodMount(mount.volume, mount.at, mount.is_kept) for mount in full.mounts or ()),
        shm_bytes=full.shm_bytes or Pod().shm_bytes,
        memory_bytes=full.memory_bytes or 0,
        cpus=full.cpus or 0.0,
        runtime=full.runtime or "",
        template=body.template or "",
        public_keys=public_keys(desk, renter_id, body.ssh_keys, body.public_keys),
        environment=tuple(sorted(kept.environment)),
    )
    check(desk, renter_id, pod, kept.environment)
    return pod, kept


def ports_beside(desk: Desk, renter_id: str, standing: Pod, pod: Pod) -> tuple[PodPort, ...]:
    """What a pod publishes in the place of one that stands: that one's ports, and its own; SpecRefused for too many."""
    ports = tuple(dict.fromkeys((*standing.ports, *pod.ports)))
    check(desk, renter_id, replace(pod, ports=ports), {})
    return ports


def with_template(desk: Desk, renter_id: str, body: PodBody) -> PodBody:
    """What is asked for, over what its template says."""
    if body.template is None:
        return body
    given = {name for name in body.model_fields_set if getattr(body, name) is not None}
    base = _template_of(desk, renter_id, body.template)
    environment = {**(base.environment or {}), **(body.environment or {})}
    changes: dict[str, Any] = {name: getattr(body, name) for name in given - {"environment"}}
    return base.model_copy(update={**changes, "environment": environment or None})


def opened(desk: Desk, template: Template) -> PodBody:
    """A renter's own template with its secrets."""
    values = desk.market.sealer.open(subject_of(template.renter_id, template.name), template.sealed)
    kept = PodBody.model_validate_json(template.pod)
    registry = values.get("registry")
    return kept.model_copy(
        update={
            "environment": values.get("environment"),
            "registry": RegistryBody.model_validate(registry) if registry else None,
        }
    )


def subject_of(renter_id: str, template: str) -> str:
    """What a template's secrets are sealed for."""
    return f"template/{renter_id}/{template}"


def public_keys(
    desk: Desk, renter_id: str, names: Iterable[str] | None, lines: Iterable[str]
) -> tuple[str, ...]:
    """The lines of an authorized_keys file: the renter's keys of these names (None: all) and the lines, each once."""
    kept = {key.name: key.public_line for key in desk.stores.ssh_keys.all(renter_id)}
    wanted = list(kept) if names is None else list(names)
    if missing := [name for name in wanted if name not in kept]:
        detail = f"you have no SSH key {missing[0]!r}"
        raise Refused(422, "NO_SUCH_SSH_KEY", detail, "look at GET /v1/ssh-keys, or add it there")
    found: dict[str, str] = {}
    for line in [*(kept[name] for name in wanted), *lines]:
        found.setdefault(line.split(" ")[1], line)
    if len(found) > MAX_KEYS:
        detail = f"{len(found)} keys would be let in, at most {MAX_KEYS} can be"
        raise Refused(
            422, "TOO_MANY_SSH_KEYS", detail, "name those of GET /v1/ssh-keys that you need in ssh_keys"
        )
    return tuple(found.values())


def check(desk: Desk, renter_id: str, pod: Pod, environment: dict[str, str]) -> None:
    """SpecRefused when no engine can run it, Refused when an operator has blocked its image."""
    check_image(desk, pod.image)
    check_spec(
        ContainerSpec(
            lease_id="lease-0",
            renter_id=renter_id,
            image=pod.image,
            card_uuids=("GPU-0",),
            entrypoint=pod.entrypoint,
            words=pod.words,
            environment=environment,
            ports=tuple(
                Port(port.inside, _OUTSIDE + n, port.protocol)
                for n, port in enumerate((*pod.ports, PodPort(22)))
            ),
            mounts=tuple(Mount(mount.volume, mount.at) for mount in pod.mounts),
            shm_bytes=pod.shm_bytes,
            memory_bytes=pod.memory_bytes,
            cpus=pod.cpus,
            runtime=pod.runtime,
        )
    )


def check_image(desk: Desk, image: str) -> None:
    """Refused when an operator has blocked it."""
    reasons = {one.pattern: one.reason for one in desk.stores.blocked.all()}
    pattern = image_blocked(image, reasons)
    if pattern is not None:
        detail = f"an operator has blocked the image {image}: {reasons[pattern] or 'no reason given'}"
        raise Refused(403, "IMAGE_BLOCKED", detail, "choose another image")


def _template_of(desk: Desk, renter_id: str, name: str) -> PodBody:
    """A renter's own template, or one of ours: own names come first."""
    own = desk.stores.templates.get(renter_id, name)
    if own is not None:
        try:
            return opened(desk, own)
        except ValidationError:
            detail = f"your template {name!r} was made for another version of this marketplace"
            raise Refused(409, "TEMPLATE_OUTDATED", detail, "replace it: PUT /v1/templates/{name}") from None
    found = builtin(name, is_local=desk.market.is_local)
    if found is None:
        detail = f"there is no template {name!r}"
        raise Refused(422, "NO_SUCH_TEMPLATE", detail, "look at GET /v1/templates")
    return found.pod


def _tokens(full: PodBody) -> tuple[str, ...]:
    """Variables that its template gives a random value, by the image that it runs."""
    found = BUILTIN.get(full.template or "")
    return found.tokens if found and found.pod.image == full.image else ()
