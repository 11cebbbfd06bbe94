"""A policy of one's own: a file of what is different from one of ours."""

import json
from dataclasses import replace

import pytest

from flows.policies import named_policy
from flows.settings import read_settings
from tasks.errors import PolicyRefused, SettingError
from tasks.policy import DEFAULT, LOCALNET, ShadowPolicy


def written(folder, content):
    path = folder / "mine.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_name_is_one_of_ours():
    """Without a suffix it is a preset's name."""

    assert named_policy("localnet") == LOCALNET


def test_a_file_changes_its_base(tmp_path):
    """What it does not name is as in the base; its name is the file's, unless it gives one."""
    path = written(tmp_path, {"shadow": {"checks": ["DISK_BELOW_MINIMUM"]}, "weights": {"burn_share": 0.5}})

    policy = named_policy(path)

    assert policy == replace(
        DEFAULT,
        name="mine",
        shadow=ShadowPolicy(checks=("DISK_BELOW_MINIMUM",)),
        weights=replace(DEFAULT.weights, burn_share=0.5),
    )
    assert named_policy(written(tmp_path, {"base": "localnet", "name": "n"})) == replace(LOCALNET, name="n")
    assert read_settings({"SUBNET_POLICY": path}).policy == path


@pytest.mark.parametrize(
    ("content", "kind", "told"),
    [
        ("{", SettingError, "one JSON object"),
        ("[]", SettingError, "one JSON object"),
        ("[" * 100_000, SettingError, "one JSON object"),
        ({"name": ["mine"]}, PolicyRefused, "name"),
        ({"base": "none"}, SettingError, "one of default"),
        ({"weights": {"burn": 1}}, PolicyRefused, "weights"),
        ({"weights": {"burn_share": "much"}}, PolicyRefused, "burn_share"),
        ({"name": "default"}, PolicyRefused, "is that of one of ours"),
    ],
)
def test_what_is_no_policy_is_told(tmp_path, content, kind, told):
    """The file and the first thing that does not fit."""

    with pytest.raises(kind, match=told):
        named_policy(written(tmp_path, content))


def test_a_file_that_is_not_there_is_a_setting(tmp_path):
    """Told when settings are read, with the path."""

    with pytest.raises(SettingError, match=r"no\.json"):
        read_settings({"SUBNET_POLICY": str(tmp_path / "no.json")})
