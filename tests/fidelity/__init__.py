"""
What the three services really answer, written down by hand, and the means to hold answers against it.

`shapes.py` is the language the facts are written in, `facts.py` says what a fact is and checks an answer,
`openai_facts.py` (with `openai_bodies.py`), `anthropic_facts.py` and `gemini_facts.py` are the tables, `drives.py`
brings the fake into every state of them, and `sdk.py` holds an answer against the types of the vendors' SDKs, which
`sdk_types.py` names.

To add a fact, find its endpoint and state in a table and write the member down, in its place; the tests then ask
it of the fake, of the cassettes and, where there are some, of recordings of the services themselves.
"""

from __future__ import annotations

from tests.fidelity.anthropic_facts import ANTHROPIC
from tests.fidelity.gemini_facts import GEMINI
from tests.fidelity.openai_facts import OPENAI

TABLES = {table.provider: table for table in (OPENAI, ANTHROPIC, GEMINI)}
