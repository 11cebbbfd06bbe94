"""What the hand's program answers, in strict records: foreign text, bounded and printable."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tasks.errors import BadAnswer, OnboardingFailed
from tasks.inspection.facts.text import shown
from tasks.onboarding.machine import Machine
from tasks.onboarding.planning import Answer, mend_for
from tasks.onboarding.steps import STEPS

TOLD_CHARS = 600
_Text = Annotated[str, Field(max_length=8_192)]
_Code = Annotated[str, Field(pattern="^[A-Z_]{0,40}$")]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Refused(_Record):
    """What could not be begun at all."""

    refused: _Code
    detail: _Text


class Answered(_Record):
    """What was done of one step, or is to be done; a code when it can't be."""

    done: Annotated[list[_Text], Field(max_length=1_000)]
    code: _Code
    detail: _Text

    def answer(self) -> Answer:
        """As the rules have it, printable."""
        return Answer(tuple(map(plain, self.done)), self.code, plain(self.detail))


class Looked(_Record):
    """A look at several steps."""

    steps: Annotated[dict[_Text, Answered], Field(max_length=len(STEPS))]


class Undone(_Record):
    """What was undone of one step, and what had to be left."""

    undone: Annotated[int, Field(ge=0, le=100_000)]
    left: Annotated[list[tuple[_Text, _Text]], Field(max_length=1_000)]


R = TypeVar("R", Answered, Looked, Undone)
ANSWERED: TypeAdapter[Answered | Refused] = TypeAdapter(Answered | Refused)
LOOKED: TypeAdapter[Looked | Refused] = TypeAdapter(Looked | Refused)
UNDONE: TypeAdapter[Undone | Refused] = TypeAdapter(Undone | Refused)


def parsed(machine: Machine, step: str, raw: bytes, adapter: TypeAdapter[R | Refused]) -> R:
    """The record; OnboardingFailed for what can't be done, BadAnswer for what does not fit."""
    try:
        reply = adapter.validate_json(raw)
    except ValidationError as error:
        raise BadAnswer(f"a reply of the hand's program with {error.error_count()} misfits") from None
    if isinstance(reply, Refused):
        raise OnboardingFailed(step, machine.label, plain(reply.detail), mend_for(reply.refused, machine))
    if isinstance(reply, Answered) and reply.code:
        raise OnboardingFailed(step, machine.label, plain(reply.detail), mend_for(reply.code, machine))
    return reply


def plain(text: str) -> str:
    """Foreign text as one line that may be shown."""
    return shown(text, TOLD_CHARS)
