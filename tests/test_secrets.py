"""No secret is a parameter: what flows are given, what deployments give, and what Prefect keeps of both."""

import importlib
import pkgutil
import re
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest
import yaml
from prefect import Flow

import flows
from flows.settings import Settings

REPOSITORY = Path(__file__).parents[1]
SECRET = re.compile(
    r"(^|_)(secrets?|passwords?|passwd|passphrase|private|mnemonic|seed|coldkey|hotkey|credentials?|auth|bearer|token|keys?)($|_)"
)
"""A name of what should not be read by whoever sees a flow run."""
NO_SECRETS = {
    "hotkey": "the name of a file of the wallet",
}
"""Names that only look like one."""
REFERENCE = re.compile(r"\{\{ *(\$[A-Z_]+|prefect\.(blocks|variables)\.[\w./-]+) *\}\}")
"""A value that is looked up when a run begins: of the worker's environment, a block or a variable."""
DEPLOYMENTS = sorted(
    path
    for path in REPOSITORY.rglob("prefect*.yaml")
    if not path.relative_to(REPOSITORY).parts[0].startswith(".")
)
"""Ours: a virtual environment has Prefect's own recipes."""


def every_flow():
    """(module, flow) of all that we have."""
    for found in pkgutil.iter_modules(flows.__path__):
        module = importlib.import_module(f"flows.{found.name}")
        yield from ((module.__name__, one) for one in vars(module).values() if isinstance(one, Flow))


def names_in(schema):
    """All names of a JSON schema, at every depth, but those of numbers, and of paths: a file's name is not what is in it."""
    if isinstance(schema, dict):
        yield from (name for name, value in schema.get("properties", {}).items() if not is_harmless(value))
        for value in schema.values():
            yield from names_in(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from names_in(value)


def is_harmless(schema):
    """Whether a value is a number, a path, or none."""
    kinds = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    numbers = {"integer", "number", "boolean"}
    return bool(kinds) and all(
        one.get("type") in numbers or one.get("format") in {"path", "file-path"} for one in kinds
    )


def named_values(value, path=""):
    """(path, name, value) of everything in a document."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield f"{path}.{name}", str(name), inner
            yield from named_values(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from named_values(inner, f"{path}[{number}]")


def deployments_of(path):
    """The deployments of a file, each with its name."""
    return yaml.safe_load(path.read_text())["deployments"]


def test_no_flow_takes_a_secret():
    """Parameters are kept by the server and shown by its UI: all names of all flows, at every depth, are of no secret."""
    found = {
        (module, name)
        for module, flow in every_flow()
        for name in names_in(flow.parameters.model_dump())
        if SECRET.search(name) and name not in NO_SECRETS
    }

    assert len({flow.name for _, flow in every_flow()}) >= 8
    assert found == set()


def test_what_a_flow_takes_is_said_in_its_types():
    """A parameter of any type could bring anything: each has a type in its schema."""
    for module, flow in every_flow():
        for name, schema in flow.parameters.properties.items():
            assert schema.keys() & {"type", "anyOf", "allOf", "$ref"}, (module, flow.name, name)


@pytest.mark.parametrize("path", DEPLOYMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_deployment_gives_a_secret(path):
    """Its parameters and job variables hold none: what is named like one is looked up where the run begins."""
    found = [
        (one["name"], where)
        for one in deployments_of(path)
        for part in ("parameters", "job_variables", "work_pool")
        for where, name, value in named_values(one.get(part) or {})
        if SECRET.search(name.lower()) and not isinstance(value, dict) and not REFERENCE.fullmatch(str(value))
    ]

    assert deployments_of(path)
    assert found == []


@pytest.mark.parametrize("path", DEPLOYMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_deployments_give_only_what_their_flow_takes(path):
    """So that nothing can be in one that the test of flows does not see."""
    for one in deployments_of(path):
        module, name = one["entrypoint"].rsplit(".", 1)
        flow = getattr(importlib.import_module(module), name)

        assert set(one.get("parameters") or {}) <= set(flow.parameters.properties), one["name"]


def test_a_word_that_names_a_secret_is_seen():
    """The rule itself: whole words in a name, and not their letters in another word."""
    seen = ["password", "api_key", "wallet_password", "auth", "secret_seed", "keys", "hotkey"]
    unseen = ["epoch", "keyword", "monkey", "lease_id", "authority", "tokens_seen_by_nobody_"[:6] + "ized"]

    assert [name for name in seen if not SECRET.search(name)] == []
    assert [name for name in unseen if SECRET.search(name)] == []


def test_settings_name_files_and_hold_no_secret():
    """Environments are shown by `docker inspect` and /proc: what is secret stands in a file that a setting names."""
    hints = get_type_hints(Settings)
    secret = [field.name for field in fields(Settings) if re.search("password|secret", field.name)]

    assert set(secret) == {"wallet_password_file", "secrets_key"}
    assert all(Path in (hints[name], *getattr(hints[name], "__args__", ())) for name in secret)


def test_the_server_listens_to_this_computer_alone():
    """Prefect's server, the marketplace and the figures: loopback, unless an operator says otherwise."""
    import tomllib

    import click

    from deployments.commands.metrics import command
    from deployments.marketplace.serve import parser_of

    prefect = tomllib.loads((REPOSITORY / "prefect.toml").read_text())
    (metrics,) = (one.default for one in command.params if one.name == "host")

    assert isinstance(command, click.Command)
    assert prefect["server"]["api"]["host"] == "127.0.0.1"
    assert metrics == "127.0.0.1"
    assert parser_of().get_default("host") == "127.0.0.1"
