"""What is asked of a machine, each a constant command with a pure parser, and all of it put together.

    COMMANDS -> (one SSH round trip) -> {name: FactOutput} -> read_facts -> HostFacts, reasons

Every parser answers for every string. What can't be read is a reason FACT_UNREADABLE that names its fact; what speaks
against the machine as such (too little memory, an unknown card) is the affair of `tasks.inspection.checks`.
"""

from __future__ import annotations

from tasks.inspection.facts.reading import COMMANDS, FACTS, read_facts
from tasks.inspection.output import Command, FactOutput

__all__ = ["COMMANDS", "FACTS", "Command", "FactOutput", "read_facts"]
