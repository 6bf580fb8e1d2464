"""How long a command takes from the start of Python to its end, and which heavy packages it loads on the way."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from tests.benchmarks.running import Figures, Record, Subject, child, compare, whole_process

# What takes more than a few milliseconds to load.
HEAVY = (
    "anthropic", "dask", "faker", "google.genai", "httpx2", "json_repair", "jsonschema", "msgspec", "openai", "pyarrow",
    "pydantic", "rich", "sqlite_utils", "starlette", "uvicorn",
)  # fmt: skip

_SPEC = """
[dataset]
document_types = ["essay"]
topics = ["rain"]
[[providers]]
provider = "openai"
model_id = "gpt-4.1-mini"
"""


def benchmark(runs: int, folder: Path) -> list[Record]:
    spec = folder / "spec.toml"
    spec.write_text(_SPEC)
    home = ["--home", str(folder / "home")]
    compiled = ["compile", str(spec), "-o", str(folder / "files"), *home]
    commands = {
        "batchfast --help": ["--help"],
        "batchfast plan": ["plan", str(spec), *home],
        "batchfast compile": compiled,
        "batchfast status": ["status", *home],
    }
    whole_process(["-m", "batchfast", *compiled], folder)  # makes the home that `status` looks at
    subjects = [
        Subject("bare Python", lambda _, __: whole_process(["-c", "pass"])),
        Subject("import batchfast", lambda _, __: whole_process(["-c", "import batchfast"]) | _inside(None)),
        *(command(name, words) for name, words in commands.items()),
    ]
    return compare("startup", "whole process", 0, subjects, runs, folder, per_request=False)


def command(name: str, words: Sequence[str]) -> Subject:
    """A command line of batchfast as a whole process; what it loads, and its peak, come from another."""
    return Subject(name, lambda _, __: whole_process(["-m", "batchfast", *words]) | _inside(words))


def _inside(words: Sequence[str] | None) -> Figures:
    return child("startup", "loaded", {"words": words})


def loaded(words: Sequence[str] | None) -> Figures:
    """Which heavy packages are loaded after a command (None: after the import alone), and how many modules in all."""
    if words is None:
        import batchfast  # noqa: F401
    else:
        from batchfast.cli import execute

        with redirect_stdout(StringIO()):
            code = execute(list(words))
        assert code == 0, f"exit {code}"
    return {"loads": [name for name in HEAVY if name in sys.modules], "modules": len(sys.modules)}
