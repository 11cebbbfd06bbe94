"""The templates that come with the marketplace. Each is pinned by digest; what was not run on a real machine yet says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from deployments.marketplace.models import PodBody, PortBody, TemplateLink

GIB = 1 << 30
NOT_SEEN = "not yet run here: it is defined and pinned, and nobody has seen it on a card of this marketplace"


@dataclass(frozen=True, slots=True)
class Builtin:
    """A template of ours."""

    name: str
    about: str
    pod: PodBody
    links: tuple[TemplateLink, ...] = ()
    tokens: tuple[str, ...] = ()
    """Variables that get a random value when the renter gives none."""
    seen_running: bool = False
    is_local: bool = False
    """Only on the local subnet, whose machines have its image."""

    @property
    def note(self) -> str:
        """What to know before it is used."""
        return "" if self.seen_running else NOT_SEEN


BUILTIN: Mapping[str, Builtin] = MappingProxyType(
    {
        template.name: template
        for template in (
            Builtin(
                "plain",
                "The local subnet's own small image: a shell, an SSH server, and the simulated nvidia-smi.",
                PodBody(image="subnet/plain:1"),
                seen_running=True,
                is_local=True,
            ),
            Builtin(
                "ubuntu",
                "Plain Ubuntu 24.04 with the host's NVIDIA driver.",
                PodBody(
                    image="ubuntu:24.04"
                    "@sha256:a08e551cb33850e4740772b38217fc1796a66da2506d312abe51acda354ff061"
                ),
            ),
            Builtin(
                "pytorch",
                "PyTorch 2.6 with CUDA 12.4 and cuDNN 9.",
                PodBody(
                    image="pytorch/pytorch:2.6.0-cuda12.4-cudnn9-runtime"
                    "@sha256:77f17f843507062875ce8be2a6f76aa6aa3df7f9ef1e31d9d7432f4b0f563dee",
                    shm_bytes=8 * GIB,
                ),
            ),
            Builtin(
                "jupyter",
                "JupyterLab with PyTorch and CUDA 12; its link has the token.",
                PodBody(
                    image="quay.io/jupyter/pytorch-notebook"
                    "@sha256:85ab930435b7afc06396e2949a4fe508d027a7980a319bec6a92f827578e5343",
                    ports=(PortBody(inside=8888),),
                    shm_bytes=8 * GIB,
                ),
                links=(TemplateLink(name="jupyter", port=8888, path="/lab?token={JUPYTER_TOKEN}"),),
                tokens=("JUPYTER_TOKEN",),
            ),
            Builtin(
                "vllm",
                "vLLM's server with OpenAI's API, for the model that its command names; VLLM_API_KEY is its key.",
                PodBody(
                    image="vllm/vllm-openai:v0.8.5"
                    "@sha256:6cf9808ca8810fc6c3fd0451c2e7784fb224590d81f7db338e7eaf3c02a33d33",
                    words=("--model", "Qwen/Qwen2.5-0.5B-Instruct", "--port", "8000"),
                    ports=(PortBody(inside=8000),),
                    shm_bytes=16 * GIB,
                ),
                links=(TemplateLink(name="openai-api", port=8000, path="/v1"),),
                tokens=("VLLM_API_KEY",),
            ),
        )
    }
)


def builtins(*, is_local: bool) -> tuple[Builtin, ...]:
    """Those that can be used here."""
    return tuple(one for one in BUILTIN.values() if is_local or not one.is_local)


def builtin(name: str, *, is_local: bool) -> Builtin | None:
    """One of them."""
    found = BUILTIN.get(name)
    return found if found and (is_local or not found.is_local) else None
