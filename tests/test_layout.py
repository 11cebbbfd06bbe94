"""The house itself: our names win, imports go down, and every test is a sentence."""

import ast
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "kernels", "storage", "deployments")


@pytest.mark.parametrize("name", PACKAGES)
def test_our_packages_are_the_ones_imported(name):
    """Each top-level name resolves inside the repository."""

    found = importlib.util.find_spec(name)

    assert found is not None
    assert Path(found.origin).is_relative_to(REPOSITORY)


@pytest.mark.parametrize("name", PACKAGES)
def test_no_installed_distribution_provides_our_names(name):
    """A package installed later under one of our names fails here, not in the middle of an epoch."""

    providers = set(importlib.metadata.packages_distributions().get(name, []))

    assert providers <= {"compute-subnet"}


@pytest.mark.parametrize("name", ["kernels", "storage"])
def test_the_lower_packages_import_without_prefect(name):
    """Kernels and storage know no Prefect, so that they can be used and tested without it."""

    code = (
        f"import pkgutil, importlib, sys, {name}\n"
        f"for m in pkgutil.walk_packages({name}.__path__, '{name}.'):\n"
        "    if '.migrations' not in m.name: importlib.import_module(m.name)\n"
        "sys.exit('prefect' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


def test_no_flow_is_named_like_a_standard_module():
    """A flow file loaded by its path would shadow the standard library."""

    names = {path.stem for path in (REPOSITORY / "flows").glob("*.py")}

    assert names.isdisjoint(sys.stdlib_module_names)


def test_every_test_is_a_sentence():
    """A test's docstring states the rule; its body is the example."""

    silent = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno} {node.name}"
        for path in (REPOSITORY / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]

    assert silent == []


def test_the_lock_has_a_digest_for_everything():
    """Whoever installs gets exactly what was tested."""

    lines = (REPOSITORY / "requirements.lock").read_text().splitlines()
    pinned = [i for i, line in enumerate(lines) if "==" in line and not line.startswith((" ", "#"))]

    assert len(pinned) > 100
    assert all("--hash=sha256:" in lines[i + 1] for i in pinned)


def test_prefects_server_can_be_imported():
    """A free resolve gives a pair of Prefect and FastAPI that cannot start; the lock's pair can."""

    code = "import prefect.server.api.server"

    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


@pytest.mark.xdist_group("layout")
def test_groups_of_tests_hold_together(request):
    """Tests of one group run on one worker, one after the other: the plugin names the group, or it would part them."""

    if request.config.option.dist == "no" and not hasattr(request.config, "workerinput"):
        pytest.skip("groups are of no matter where one process runs all tests")
    assert request.node.nodeid.endswith("@layout")
