"""
Recorded exchanges with the batch services, for tests that need no server at all.

```python
with cassettes.play("openai/complete"):
    OpenAI(api_key="any").batches.retrieve(...)  # answered from the file; nothing leaves the machine
```

What is played was recorded by `python -m batchfast.cassettes record`; a comment at the head of each file names what it
was recorded from. Playing needs vcrpy: `pip install 'batchfast[pytest]'`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from batchfast.errors import ConfigError

if TYPE_CHECKING:
    from vcr.cassette import Cassette  # type: ignore[import-untyped]

__all__ = ["find", "play", "shipped"]

_ENDING = ".yaml"


def shipped() -> Path:
    """The folder of the cassettes that come with batchfast."""
    inside = Path(__file__).parent
    # A wheel holds them beside this module, a checkout at its top.
    return inside if any(inside.glob(f"*/*{_ENDING}")) else inside.parents[1] / "cassettes"


def find(name: str, folders: Iterable[Path] = ()) -> Path:
    """
    The file of a cassette.

    Args:
        name: As in "openai/complete".
        folders: Looked through in this order, before the cassettes that come with batchfast.

    Raises:
        ConfigError: There is none of that name.
    """
    places = [*folders, shipped()]
    for folder in places:
        path = folder / f"{name}{_ENDING}"
        if path.is_file():
            return path
    known = {
        path.relative_to(folder).with_suffix("").as_posix() for folder in places for path in folder.rglob(f"*{_ENDING}")
    }
    near = difflib.get_close_matches(name, sorted(known), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise ConfigError(f"no cassette {name!r} in {', '.join(str(folder) for folder in places)}{hint}")


@contextmanager
def play(name: str, folders: Iterable[Path] = ()) -> Iterator[Cassette]:
    """
    Answer HTTP calls of this process from a cassette, each recorded answer once, in the order recorded.

    A call matches by method, path, query and body: JSON, also line by line, as parsed, a multipart form by its parts.
    The host, what a base URL puts before the service's own paths, and the version in the path do not count. Nothing is
    recorded: a call that is not on the cassette raises vcrpy's `CannotOverwriteExistingCassetteException`, which lists
    the nearest recorded ones.

    Args:
        name: As in "openai/complete".
        folders: As for `find`.

    Yields:
        vcrpy's cassette; its `all_played` tells whether every answer was used.

    Raises:
        ConfigError: There is no such cassette, or vcrpy is missing.
    """
    from batchfast.cassettes.tape import recorder

    with recorder().use_cassette(str(find(name, folders)), record_mode="none") as cassette:
        yield cassette
