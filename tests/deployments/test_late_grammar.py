"""What takes a second of CPU, and what nobody asks for, is not built by every process that imports Prefect."""

import json
import subprocess
import sys

from deployments.sites import REPOSITORY

LOOK = """
import json, sys, deployments, jsonschema
checks = jsonschema.Draft202012Validator({"format": "iri"}, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
at_first = "lark" in sys.modules
valid = [checks.is_valid(text) for text in ("https://b\u00fccher.example/", "no address", "https://b\u00fccher.example/")]
print(json.dumps([at_first, valid, "lark" in sys.modules]))
"""


def test_an_address_is_checked_by_a_grammar_that_is_built_when_asked_for():
    """Importing builds none; the first question does, and gets the grammar's own answer, as does every later one."""
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )

    assert json.loads(done.stdout) == [False, [True, False, True], True]
