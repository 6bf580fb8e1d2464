"""What the doctor says: one finding a line. Imports nothing of batchfast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Check = Literal["providers", "home", "runs", "leftovers"]
Level = Literal["ok", "note", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Attributes:
        level: "ok" and "note" ask for nothing; "warning" may cost something later, "error" does so now.
        advice: What a person does about it: a command where there is one.
    """

    check: Check
    level: Level
    message: str
    advice: str | None = None
