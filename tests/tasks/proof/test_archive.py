from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

from tasks.proof.archive import pack, prover_archive


def _package(folder: Path) -> Path:
    package = folder / "kernels"
    package.mkdir(parents=True)
    (package / "b.py").write_text("B = 2\n")
    (package / "__init__.py").write_text("")
    (package / "cuda").mkdir()
    (package / "cuda" / "a.py").write_text("A = 1\n")
    (package / "notes.txt").write_text("not shipped")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "b.cpython-311.pyc").write_bytes(b"not shipped")
    return package


def test_same_files_same_bytes(tmp_path):
    """Equal sources give equal archives, whatever their dates and the order of their making."""
    one = pack(_package(tmp_path / "one"))
    assert pack(_package(tmp_path / "two")) == one
    with zipfile.ZipFile(io.BytesIO(one)) as archive:
        assert archive.namelist() == ["kernels/__init__.py", "kernels/b.py", "kernels/cuda/a.py"]
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_changed_file_changes_digest(tmp_path):
    """One changed byte of a source gives another archive."""
    package = _package(tmp_path)
    before = pack(package)
    (package / "b.py").write_text("B = 3\n")
    assert pack(package) != before


def test_prover_is_small():
    """The real prover travels in less than 64 KiB, both forms of it, and is packed once a process."""
    archive = prover_archive()
    assert len(archive.content) < 64 * 1024
    names = zipfile.ZipFile(io.BytesIO(archive.content)).namelist()
    assert {"kernels/prover.py", "kernels/cpu.py", "kernels/cuda/card.py"} <= set(names)
    assert archive is prover_archive()


def test_prover_imports_from_the_archive(tmp_path):
    """The archive is enough: an isolated interpreter imports the prover's protocol from it alone."""
    path = tmp_path / "prover.zip"
    path.write_bytes(prover_archive().content)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import kernels.protocol as p; print(p.__file__)"
    done = subprocess.run(
        [sys.executable, "-I", "-c", code, str(path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith(str(path))
