"""The elements of one array of a large JSON object, read piece by piece."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchfast.fake import bigjson
from batchfast.fake.bigjson import NoArray, iter_member
from batchfast.fake.service import BadBody

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé\u2028😀"\\,'),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=8,
)


def read(text: str | bytes) -> list[object]:
    return list(iter_member(io.BytesIO(text.encode() if isinstance(text, str) else text), "requests"))


@given(
    elements=st.lists(_json, max_size=5),
    before=st.dictionaries(st.text("xy", min_size=1, max_size=2), _json, max_size=2),
    indent=st.none() | st.integers(0, 2),
    piece=st.integers(1, 7),
    ascii_only=st.booleans(),
)
def test_pieces_of_any_size_give_what_the_whole_gives(
    elements: list[object], before: dict[str, object], indent: int | None, piece: int, ascii_only: bool
) -> None:
    """Also where a number, an escape or a character of several bytes is cut between two pieces."""
    body = {**before, "requests": elements, "z": 12}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bigjson, "_CHUNK_BYTES", piece)
        assert read(json.dumps(body, indent=indent, ensure_ascii=ascii_only)) == elements


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{", '{"requests": [1', '{"requests": [1]', '{"requests": [1]}x', '{"requests": [1]} {}',
        '{"requests": [1],}', '{"requests": [1,]}', '{"requests": [1 2]}', '{"requests": [1], "requests": [2]}',
        b'{"requests": ["\xff"]}', '{"requests": [NaN]}',
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    """What a parser of the whole would refuse, and a member given twice."""
    with pytest.raises(BadBody):
        read(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{}", "Field required"), ('{"a": 1}', "Field required"), ('{"requests": "x"}', "valid list"),
     ('{"requests": {}}', "valid list"), ('{"requests": null}', "valid list")],
)  # fmt: skip
def test_an_absent_array_is_told_from_an_empty_one(text: str, message: str) -> None:
    """The service says which."""
    with pytest.raises(NoArray, match=message):
        read(text)
    assert read('{"requests": []}') == []
