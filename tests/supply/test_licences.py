"""Licences of what we use: read from metadata, allowed or excepted by name, and what is released has stricter ones."""

from email.message import Message
from importlib.metadata import PackageNotFoundError, metadata

import pytest

from tests.supply.licences import EXCEPTIONS, fault_of, faults, is_allowed, licence_of
from tests.supply.locked import IMAGE_LOCK, LOCK, locked


def about(**fields):
    """A package's metadata."""
    told = Message()
    for name, values in fields.items():
        for value in [values] if isinstance(values, str) else values:
            told[name.replace("_", "-")] = value
    return told


@pytest.mark.parametrize(
    ("licence", "is_fine"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(GPL-2.0-only OR Apache-2.0) AND BSD-3-Clause", True),
        ("GPL-2.0-only OR (MIT AND AGPL-3.0-only)", False),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("MIT OR", False),
        ("", False),
    ],
)
def test_of_alternatives_one_has_to_be_allowed_and_of_the_rest_all(licence, is_fine):
    """An expression is met when allowed licences alone can meet it; one that can't be read is not."""
    assert is_allowed(licence) is is_fine


def test_a_licence_is_read_where_it_is_told_best():
    """The SPDX field before the free text, that before classifiers, of which all hold together."""
    gpl = "License :: OSI Approved :: GNU General Public License v3 (GPLv3)"
    mit = "License :: OSI Approved :: MIT License"

    assert licence_of(about(License_Expression="ISC", License="GPL", Classifier=gpl)) == "ISC"
    assert licence_of(about(License="Apache 2.0", Classifier=mit)) == "Apache-2.0"
    assert licence_of(about(License="a whole text", Classifier=[mit, gpl])).startswith("MIT AND GNU General")
    assert licence_of(about(Classifier="License :: OSI Approved")) == ""


def test_a_copyleft_package_is_found():
    """Under the GPL alone, or without any word: it may not be used."""
    assert fault_of("sneaky", about(License_Expression="GPL-3.0-or-later"), runs=False)
    assert fault_of("mute", about(), runs=False) == "its licence is not told"


def test_an_exception_is_of_one_licence():
    """Should the package come under another one, it is looked at anew; and a tool's exception is none for what is released."""
    other = about(License_Expression="AGPL-3.0-only")
    nvidia = about(License_Expression="LicenseRef-NVIDIA-Proprietary")

    assert fault_of("paramiko", about(License_Expression="LGPL-2.1"), runs=True) == ""
    assert fault_of("paramiko", other, runs=True) == "its licence is AGPL-3.0-only"
    assert fault_of("nvidia-cuda-nvcc", nvidia, runs=False) == ""
    assert "this repository alone" in fault_of("nvidia-cuda-nvcc", nvidia, runs=True)


def test_everything_that_is_locked_may_be_used():
    """The packages that are installed, as their own metadata have it."""
    assert faults() == {}


def test_no_exception_is_left_over():
    """Each is for a package that is locked, and needed."""
    names = {one.name for one in locked(LOCK.read_text())}

    assert set(EXCEPTIONS) <= names
    for name, excepted in EXCEPTIONS.items():
        try:
            assert licence_of(metadata(name)) == excepted.licence, name
        except PackageNotFoundError:
            assert not next(one for one in locked(LOCK.read_text()) if one.name == name).marker.evaluate()
        assert not is_allowed(excepted.licence)
        assert excepted.why


def test_what_runs_is_a_part_of_what_is_locked():
    """The image has the same versions, with digests for all."""
    every = {one.name: one for one in locked(LOCK.read_text())}
    running = locked(IMAGE_LOCK.read_text())

    assert len(running) > 100
    assert all(one.sha256 for one in (*every.values(), *running))
    assert {one.name for one in running} - set(every) == set()
    assert all(one.version == every[one.name].version or one.marker for one in running)
