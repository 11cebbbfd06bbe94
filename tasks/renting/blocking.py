"""Whether an operator has blocked an image, under whatever name it is asked for. Pure.

A pattern is shell-style (`*`, `?`, `[a-z]`) and is matched with every way of writing the same image: `ubuntu` is also
`docker.io/library/ubuntu:latest`, with and without registry, tag and digest. Once the image is pulled its digest is known:
asked again with it, a pattern such as `*@sha256:5f3c...` finds it under any other name.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

HUB = "docker.io"
_HUB_NAMES = frozenset({HUB, "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})


def image_blocked(image: str, patterns: Iterable[str], digest: str = "") -> str | None:
    """The first pattern that blocks it, None when none does; `digest`: sha256:..., where it is known."""
    names = tuple(names_of(image, digest))
    for pattern in patterns:
        wanted = pattern.strip().lower()
        if any(fnmatchcase(name, wanted) for name in names):
            return pattern
    return None


def names_of(image: str, digest: str = "") -> Iterator[str]:
    """Every way of writing it, in small letters."""
    name, _, own_digest = image.strip().lower().partition("@")
    repository, tag = _split_tag(name)
    tag = tag or ("" if own_digest else "latest")
    ends = ["", f":{tag}" if tag else ""]
    ends += [f"{end}@{one}" for one in {own_digest, digest.lower()} - {""} for end in tuple(ends)]
    yield image.strip().lower()
    for written in _repositories(repository):
        yield from (written + end for end in ends)


def repository_of(image: str) -> str:
    """`docker.io/library/ubuntu` of `ubuntu:22.04`: what a registry's login is good for, in its longest form."""
    name = image.strip().lower().partition("@")[0]
    return max(_repositories(_split_tag(name)[0]), key=len)


def _split_tag(name: str) -> tuple[str, str]:
    """`host:5000/a:1` is `host:5000/a` and `1`: a colon before the last slash is a port."""
    head, slash, last = name.rpartition("/")
    repository, _, tag = last.partition(":")
    return f"{head}{slash}{repository}", tag


def _repositories(repository: str) -> Iterator[str]:
    """With and without the registry that is meant when none is named."""
    first, slash, rest = repository.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    if is_registry and first not in _HUB_NAMES:
        yield repository
        return
    path = rest if is_registry else repository
    path = path.removeprefix("library/") if path.count("/") == 1 else path
    yield path
    yield f"{HUB}/{path}"
    if "/" not in path:
        yield f"library/{path}"
        yield f"{HUB}/library/{path}"
