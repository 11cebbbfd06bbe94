"""The list of what a lock file brings (SBOM): CycloneDX JSON with digests, licences, and who asked for what.

    python -m tests.supply.bom FOLDER          compute-subnet-<version>.cdx.json (what runs), and the same for development

The same lock, version and installed packages give the same bytes: no time of making, no random number. It is validated
against CycloneDX's own schema before it is written. Licences are those that are installed here; what belongs to another system
has none in it.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentScope, ComponentType
from cyclonedx.model.license import LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.utils import canonicalize_name

from tests.supply.licences import is_spdx, licence_of
from tests.supply.locked import IMAGE_LOCK, LOCK, REPOSITORY, Locked, locked

NAME = "compute-subnet"


def version() -> str:
    """Of this tree."""
    return str(tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"])


def bom_of(packages: Iterable[Locked], release: str) -> Bom:
    """The list, with who asked for what; a package that is pinned for several systems is in it several times."""
    bom = Bom(version=1)
    root = _root(release)
    bom.metadata.component = root
    bom.metadata.properties.add(Property(name="cdx:reproducible", value="true"))
    made = [(one, _component(one)) for one in packages]
    for _, component in made:
        bom.components.add(component)
    for asker in (root, *(component for _, component in made)):
        name = canonicalize_name(asker.name)
        bom.register_dependency(asker, [component for one, component in made if name in one.asked_by])
    return bom


def text_of(bom: Bom) -> str:
    """As JSON. ValueError when it is not as CycloneDX 1.6 wants it."""
    bom.serial_number = None  # type: ignore[assignment]  # one that is drawn would be another each time
    bom.metadata.timestamp = None  # type: ignore[assignment]
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        raise ValueError(f"no CycloneDX 1.6: {wrong}")
    return text + "\n"


def write(folder: Path) -> list[Path]:
    """Both lists; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for lock, of in ((IMAGE_LOCK, ""), (LOCK, "-development")):
        path = folder / f"{NAME}-{version()}{of}.cdx.json"
        path.write_text(text_of(bom_of(locked(lock.read_text()), version())), encoding="utf-8")
        found.append(path)
    return found


def _root(release: str) -> Component:
    return Component(
        name=NAME,
        version=release,
        type=ComponentType.APPLICATION,
        bom_ref=NAME,
        licenses=[LicenseExpression("MIT")],
        purl=PackageURL("pypi", name=NAME, version=release),
    )


def _component(one: Locked) -> Component:
    address = PackageURL("pypi", name=one.name, version=one.version)
    licence = _licence(one.name)
    return Component(
        name=one.name,
        version=one.version,
        type=ComponentType.LIBRARY,
        bom_ref=str(address),
        purl=address,
        scope=ComponentScope.OPTIONAL if one.marker else ComponentScope.REQUIRED,
        licenses=[LicenseExpression(licence)] if licence else [],
        properties=[Property(name="python:marker", value=str(one.marker))] if one.marker else [],
        external_references=[
            ExternalReference(
                type=ExternalReferenceType.DISTRIBUTION,
                url=XsUri(f"https://pypi.org/project/{one.name}/{one.version}/#files"),
                comment="any file of these digests",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=digest) for digest in one.sha256],
            )
        ],
    )


def _licence(name: str) -> str:
    try:
        told = licence_of(metadata(name))
    except PackageNotFoundError:
        return ""
    return told if is_spdx(told) else ""


if __name__ == "__main__":
    for path in write(Path(sys.argv[1])):
        print(path)
