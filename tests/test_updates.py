"""Nothing of ours updates itself: no program fetches code and runs it, and what runs code at all is known by name."""

import ast
import re
import subprocess
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
PACKAGES = ("flows", "tasks", "kernels", "storage", "deployments")

RUNS_CODE = {
    "deployments/lazy.py": "commands of the list of commands, when they are called",
    "deployments/localnet/liars.py": "simulated machines of the local subnet, which do what a machine is asked to",
    "deployments/miner/troubleshooting.py": "looks which of the prover's libraries can be imported",
    "deployments/prefect_process.py": "Prefect's own command, of the installed package",
    "deployments/run_epoch.py": "a flow of ours, named by whoever calls it",
    "tasks/edges/shell.py": "the constant loader: a machine runs what the validator sends, and not the other way",
    "tasks/onboarding/hand.py": "the miner's hand: the miner's machine runs what its miner sends over its own SSH",
}
"""Modules that make code of text, or import what is named at run time; each with what that is."""

FETCHES_PROGRAMS = {
    "tasks/onboarding/changing/packages.py": "what the miner agreed to in the plan, from the machine's own signed package lists",
    "tasks/onboarding/changing/interpreter.py": "the prover's libraries, into an environment of their own, as the plan says",
}
"""Modules that have programs installed; each with who wanted it."""

ADVICE = {
    "kernels/cuda/needs.py",
    "tasks/onboarding/mends.py",
    "tasks/onboarding/planning.py",
    "tasks/proof/reasons.py",
}
"""Modules whose texts tell people what to type: they run nothing."""
ERRORS = {
    "deployments/localnet/engine.py",
    "tasks/crew/clusters.py",
    "tasks/edges/toolbox.py",
}
"""Modules that do run programs, and tell in an error which packages are missing."""

FETCHING = re.compile(
    r"\b(pip3? install|git (pull|clone|fetch)|curl |wget |apt(-get)? .*install|docker pull)|:latest\b"
)
RUNNING_TEXT = re.compile(r"\b(exec|eval)\(")
"""In a string: a program that is sent, and runs elsewhere."""
RUNNING = {"exec", "eval", "compile", "__import__"}
LOADING = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "runpy", "imp"}
TALKING = {"httpx", "requests", "urllib.request", "aiohttp", "http.client", "ftplib"}


def sources():
    """Path in the repository -> syntax tree, of all our modules."""
    for package in PACKAGES:
        for path in sorted((REPOSITORY / package).rglob("*.py")):
            yield str(path.relative_to(REPOSITORY)), parsed(path)


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(tree):
    """Names of modules that it imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def runs_code(tree):
    """Whether it makes code of text, loads objects of bytes, or imports a name that is not written in it."""
    if LOADING & {name.partition(".")[0] for name in imported(tree)}:
        return True
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        is_plain = isinstance(node.func, ast.Name)
        is_open = bool(node.args) and not isinstance(node.args[0], ast.Constant)
        if (is_plain and name in RUNNING) or (name == "import_module" and is_open) or name == "system":
            return True
        if any(key.arg == "shell" and getattr(key.value, "value", False) for key in node.keywords):
            return True
    return any(RUNNING_TEXT.search(text) for text in texts(tree))


def texts(tree):
    """Its strings, docstrings left out; lists of words as one."""
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            documents.add(id(node.value))  # what stands below a field
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents:
            yield node.value
        elif isinstance(node, ast.List | ast.Tuple):
            yield " ".join(
                e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)
            )


def test_what_runs_code_is_known_by_name():
    """No `exec`, no pickle, no shell, no import of a name from outside, but in these modules; none is left over in the list."""
    found = {name for name, tree in sources() if runs_code(tree)}

    assert found == set(RUNS_CODE)


def test_nothing_that_runs_code_talks_to_the_network():
    """Whatever could fetch code has nothing to run it with. The two that speak SSH send code, and read none."""
    both = {name for name, tree in sources() if name in RUNS_CODE and TALKING & set(imported(tree))}

    assert both == set()


def test_nothing_installs_or_pulls_by_itself():
    """No command that brings programs, and no image by a tag that may come to mean another one, but where the miner asked."""
    found = {name for name, tree in sources() if any(FETCHING.search(text) for text in texts(tree))}

    assert found - ADVICE - ERRORS == set(FETCHES_PROGRAMS)


def test_advice_is_only_text():
    """Modules that tell commands to people start no program and open no connection."""
    for name in ADVICE:
        modules = set(imported(parsed(REPOSITORY / name)))

        assert not modules & (TALKING | {"subprocess", "os.system", "paramiko", "socket"}), name


def test_deployments_pull_no_code():
    """Prefect's workers run the tree that they stand in: no step clones or downloads one."""
    text = (REPOSITORY / "prefect.yaml").read_text()
    steps = re.findall(r"prefect[.\w]*\.(?:steps|deployments)[.\w]*", text)

    assert steps
    assert set(steps) == {"prefect.deployments.steps.set_working_directory"}


def test_the_image_installs_what_is_locked_by_digest():
    """Nothing is resolved while it is made, and nothing is installed when it runs."""
    lines = (REPOSITORY / "deployments/image/Dockerfile").read_text().splitlines()
    installs = [line for line in lines if "pip install" in line]

    assert all("--require-hashes" in line or "--no-index" in line for line in installs)
    assert not any(
        word in line for line in lines if line.startswith(("ENTRYPOINT", "CMD")) for word in ("pip", "git")
    )


def test_a_release_uploads_nothing():
    """Whoever makes one passes the files on; no target of the Makefile does."""
    told = (REPOSITORY / "Makefile").read_text() + (REPOSITORY / "tests/supply/release.py").read_text()
    code = [line for line in told.splitlines() if not line.lstrip().startswith(("print", '"', "#"))]

    assert not any(re.search(r"twine|git push|docker push|upload-", line) for line in code)


def test_no_tracked_file_is_a_program_that_was_compiled():
    """What runs can be read: no binary of anybody's is in the tree."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    ).stdout
    names = listed.split() or [str(p.relative_to(REPOSITORY)) for p in REPOSITORY.glob("*.py")]

    assert not [name for name in names if re.search(r"\.(so|dll|dylib|exe|pyc|whl|jar|bin|cubin|ptx)$", name)]
