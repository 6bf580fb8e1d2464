"""What a reply is worth: the texts that are surely whole, byte for byte, or an error that says why there are none."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchfast.parse import Reply, parse_reply
from batchfast.records import Ending, Outcome, RequestError, Result
from batchfast.schema.data_rows import samples_schema

CHARS = st.one_of(
    st.sampled_from([*"\"\\'{}[],:`\n\t ab“”\u2028é😀", "texts", '", "', "```"]),
    st.characters(exclude_categories=["Cs"]),
)
TEXTS = st.lists(st.lists(CHARS, max_size=8).map("".join), max_size=4)
ENDINGS = st.sampled_from(["complete", "truncated"])
FENCES = st.sampled_from([("", ""), ("```json\n", "\n```"), ("```\n", "```"), ("Here it is:\n\n", "\nDone.")])
STYLES = st.fixed_dictionaries({"ensure_ascii": st.booleans(), "indent": st.sampled_from([None, 2])})


def reply_to(text: str | None, ending: Ending = "complete", asked: int = 1, finish_reason: str | None = None) -> Reply:
    return parse_reply(Result("r-1", "succeeded", text, finish_reason=finish_reason, ending=ending), asked)


def error_of(text: str | None, ending: Ending = "complete", finish_reason: str | None = None) -> RequestError:
    reply = reply_to(text, ending, finish_reason=finish_reason)
    assert reply.texts == ()
    assert reply.error is not None
    return reply.error


def not_blank(texts: list[str]) -> tuple[str, ...]:
    return tuple(text for text in texts if text.strip())


# whole replies


def test_plain_json_gives_its_texts_byte_for_byte() -> None:
    """Nothing is stripped, unescaped twice or normalised."""
    texts = ["  two\n\nlines  ", 'a "quote" and a \\n', "\u2028 é e\u0301 😀", "{{name}} <b>&amp;</b>"]
    assert reply_to(json.dumps({"texts": texts}), asked=4) == Reply(tuple(texts), None, 4)


@given(TEXTS, STYLES, FENCES)
def test_whole_reply_yields_all_texts(texts: list[str], style: dict[str, Any], fence: tuple[str, str]) -> None:
    """Plain, in a fence or in prose, whatever the texts hold: what was written comes out, but for blank texts."""
    reply = reply_to(fence[0] + json.dumps({"texts": texts}, **style) + fence[1], asked=len(texts))
    assert reply.texts == not_blank(texts)
    assert (reply.error is None) == bool(reply.texts)
    assert reply.error is None or reply.error.type == "empty"


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key twice")
    return dict(pairs)


MARKS = st.sampled_from(
    [*'"\\,:[]{}\x01 \t\x7f\ud800', "\\ud800", "\\u0000", "1e3", "null", '"texts":["x"]', '],"texts":["y"]']
)


@settings(max_examples=500)
@given(TEXTS, STYLES, st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), MARKS), max_size=2))
def test_damaged_json_is_read_as_the_json_module_reads_it(
    texts: list[str], style: dict[str, Any], changes: list[tuple[float, int, str]]
) -> None:
    """What it takes for the object that was asked for gives its texts, another value none, and the rest is searched."""
    text = json.dumps({"texts": texts}, **style)
    for where, removed, added in changes:
        at = round(where * len(text))
        text = text[:at] + added + text[at + removed :]
    try:
        value = json.loads(text, object_pairs_hook=without_doubles)
    except ValueError as exc:
        # What stands before the object keeps it from being read as plain JSON.
        searched = reply_to("." + text) if str(exc) != "a key twice" else reply_to("[]")
        assert reply_to(text).texts == searched.texts
        return
    is_asked_for = isinstance(value, dict) and value.keys() == {"texts"} and isinstance(value["texts"], list)
    if is_asked_for and all(isinstance(one, str) for one in value["texts"]):
        mended = [one.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for one in value["texts"]]
        assert reply_to(text).texts == not_blank(mended)
    else:
        assert error_of(text).type in ("unparsable", "empty")


@pytest.mark.parametrize("tail", ['],"texts":["b"]}', '] ,\n"\\u0074exts" : []}', '],"texts":null}'])
def test_key_that_comes_twice_leaves_no_text(tail: str) -> None:
    """There is no telling which value was meant, also where the texts themselves hold brackets and quotes."""
    assert error_of('{"texts":["see [1], \\"x\\"",' + '"a"' + tail).type == "unparsable"
    assert reply_to('{"texts":["see [1], \\"x\\"","a"]}').texts == ('see [1], "x"', "a")


@given(TEXTS, STYLES, FENCES, ENDINGS, st.data())
def test_cut_reply_yields_a_strict_prefix(
    texts: list[str], style: dict[str, Any], fence: tuple[str, str], ending: Ending, data: st.DataObject
) -> None:
    """Wherever a reply is cut, and whether or not the provider says so, no partial text and never the last one."""
    whole = fence[0] + json.dumps({"texts": texts}, **style)
    reply = reply_to(whole[: data.draw(st.integers(0, len(whole) - 1), label="cut")], ending)
    assert reply.texts in [not_blank(texts[:kept]) for kept in range(max(len(texts), 1))]
    assert (reply.error is None) == bool(reply.texts)


@given(TEXTS, STYLES, FENCES)
def test_truncated_reply_loses_its_last_text_even_if_its_json_is_closed(
    texts: list[str], style: dict[str, Any], fence: tuple[str, str]
) -> None:
    """A provider that parses the reply itself closes what the limit left open: closed is not whole."""
    reply = reply_to(fence[0] + json.dumps({"texts": texts}, **style) + fence[1], "truncated")
    assert reply.texts == not_blank(texts[:-1])
    assert reply.error is None or reply.error.type in ("truncated", "empty")


@settings(deadline=None)  # the first repair imports json-repair
@given(st.text(alphabet=CHARS.filter(lambda char: len(char) == 1), max_size=60), ENDINGS)
def test_any_text_is_answered_without_an_exception(text: str, ending: Ending) -> None:
    """Model output is untrusted: every reply ends in texts or in an error, never in both or neither."""
    for reply in (reply_to(text, ending), reply_to('{"texts": ["' + text + '",]}', ending)):
        assert (reply.error is None) == bool(reply.texts)


@pytest.mark.parametrize("texts", [["only one"], ["one", "two", "three"]])
def test_fewer_or_more_texts_than_asked_are_kept(texts: list[str]) -> None:
    """Never padded, never cut; `asked` stands beside them."""
    assert reply_to(json.dumps({"texts": texts}), asked=2) == Reply(tuple(texts), None, 2)


def test_blank_texts_are_dropped() -> None:
    """A blank text is no sample."""
    assert reply_to('{"texts": ["", "a", " \\n\\t"]}', asked=3).texts == ("a",)


@pytest.mark.parametrize("text", ['{"texts": []}', '{"texts": ["", "  "]}', "", "  \n", None])
def test_reply_without_words_is_empty(text: str | None) -> None:
    """Nothing to keep, and worth another try."""
    error = error_of(text)
    assert (error.type, error.retryable) == ("empty", True)


def test_lone_surrogates_become_replacement_characters() -> None:
    """UTF-8 cannot hold them, and a dataset is UTF-8; pairs stay what they are, repaired or not."""
    for end in ("]}", ",]}"):
        (text,) = reply_to('{"texts": ["a\\ud800b \\ud83d\\ude00 \\udc00"' + end).texts
        assert text == "a\ufffdb 😀 \ufffd"
        assert text.encode()


def test_accepts_what_the_schema_accepts() -> None:
    """The check by hand and the schema that goes out with each request agree."""
    is_valid = jsonschema.Draft202012Validator(samples_schema(1)).is_valid
    for value in (
        {"texts": ["a"]},
        {"texts": [1]},
        {"texts": "a"},
        {"texts": ["a"], "x": 1},
        {"text": ["a"]},
        ["a"],
        "a",
        None,
    ):
        text = json.dumps(value)
        if is_valid(value):
            assert reply_to(text).texts == ("a",)
        else:
            assert error_of(text).type == "unparsable"


# mended replies


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('```json\n{"texts": ["a", "b",]}\n```', ("a", "b")),
        ('Sure!\n{"texts": ["a",\n "b"],}\nHope it helps.', ("a", "b")),
        ('{"texts": ["a", "b"],,', ("a", "b")),
        ('{"texts": ["a", "b"}', ("a", "b")),
        ('{"texts": ["She said "hi" to me", "b"]}', ('She said "hi" to me', "b")),
        ('{"texts": ["He said "no", and left", "b"]}', ('He said "no", and left', "b")),
        ("{'texts': ['a', 'it”s']}", ("a", "it”s")),
        ("{“texts”: [“a”, “b”]}", ("a", "b")),
        ('{"texts": ["a", "", "b",]}', ("a", "b")),
        ('{"texts": ["", "a",]}', ("a",)),
        ('{"texts": ["C:\\dir", "b"]}', ("C:\\dir", "b")),
        ('{"texts": ["  a\n", " b \\n",]}', ("  a\n", " b \n")),
        ('\ufeff{"texts": ["a\nb"]}', ("a\nb",)),
    ],
)
def test_slips_of_form_are_mended(text: str, texts: tuple[str, ...]) -> None:
    """Fences, prose, commas, stray quotes, a missing bracket: the texts are those a reader sees, whitespace too."""
    assert reply_to(text, asked=len(texts)) == Reply(texts, None, len(texts))


@pytest.mark.parametrize(
    "text",
    [
        "I am sorry, but I cannot write that.",
        'I would return "texts": ["a"] here.',
        '["a", "b"]',
        '```json\n["a", "b"]\n```',
        '{"texts": "a"}',
        '{"texts": ["a", 1]}',
        '{"texts": [{"text": "a"},]}',
        '{"texts": ["a"], "note": "b",}',
        '{"answer": {"texts": ["a"]}}',
        '[{"texts": ["a"]}]',
        '```json\n{"answer": {"texts": ["a"]}}\n```',  # of something larger, also where it is found by searching
        'The list: [{"texts": ["a"]}, {"text": "b"}]',
        '{"texts": ["a"]}\n{"texts": ["b"]}',
        '{"texts": ["a"], "texts": ["b"]}',
        '```json\n{"texts": ["a"], "texts": ["b"]}\n```',
        '{"texts": ["a"], "texts": ["b"],}',
        '{"texts": [Hello, dear reader]}',
        '{"texts": ' + "[" * 100_000,
        '{"texts": ["a", ' + "[" * 50_000 + "]" * 50_000 + "]}",
    ],
)
def test_what_does_not_fit_is_unparsable(text: str) -> None:
    """Strict after mending: no coercion, no part of something else, no row from prose; worth another try."""
    error = error_of(text)
    assert (error.type, error.retryable) == ("unparsable", True)


@pytest.mark.parametrize(
    "text",
    [
        '{"texts": ["a 6" pipe", "b"]}',  # json-repair: "a 6", "pipe", "b"
        '{"texts": ["a"", "b"]}',  # json-repair: "a", ", ", "b"
        '{"texts": [""Hi" he said", "b"]}',  # json-repair: "Hi", "he said", "b"
        '{"texts": ["one "x", "y", two", "b"]}',  # two texts, or three
        '{"texts": ["x"; "y"]}',  # one text `x"; "y`
        '{"texts": ["x" "y"]}',
        '{"texts": ["x"\n"y"]}',
        '{"texts": ["it\'s ",", "[w]"]}',  # an odd quote: everything behind it seems to be in a text, and cut
        '```json\n{"texts": ["it\'s ",", "[w]"]}\n```',
        'Here:\n```json\n{"texts": ["it\'s ",", "[w]"]}\n```\nHope it helps.',
        '{"texts": ["he "a}" b", "c"]}',  # seems to end inside the first text
    ],
)
def test_ambiguous_quotes_are_not_guessed(text: str) -> None:
    """Where a repair would make texts that the model may not have written, the reply is asked for again."""
    assert error_of(text).type == "unparsable"


def test_repair_that_would_take_minutes_is_not_tried() -> None:
    """json-repair is quadratic in stray quotes; one reply must not hold up a collect."""
    assert error_of('{"texts": ["' + 'he said "hi", then "bye"; ' * 10_000 + '"]}').type == "unparsable"


# no reply at all


@pytest.mark.parametrize("ending", ["refused", "blocked"])
def test_refused_and_blocked_are_final(ending: Ending) -> None:
    """Whatever stands in the reply is no sample, and asking again would cost the same for the same answer."""
    for text in (None, "I can't help with that.", '{"texts": ["a"]}'):
        error = error_of(text, ending, "SAFETY")
        assert (error.type, error.retryable) == (ending, False)
        assert "(SAFETY)" in error.message


@pytest.mark.parametrize("text", [None, "", "{", '{"texts": ["a', '{"texts": ["a"]}', "```json"])
def test_truncated_with_nothing_left_says_truncated(text: str | None) -> None:
    """Also where the limit was spent on reasoning before the first word."""
    error = error_of(text, "truncated", "length")
    assert (error.type, error.retryable) == ("truncated", False)
    assert "(length)" in error.message


def test_json_cut_in_its_first_text_is_truncated_whatever_the_provider_says() -> None:
    """Nothing whole is left."""
    assert error_of('{"texts": ["a long and').type == "truncated"


@pytest.mark.parametrize("outcome", ["failed", "expired", "cancelled"])
def test_other_outcomes_keep_their_own_error(outcome: Outcome) -> None:
    """The provider's error passes through; without one the outcome is the error."""
    error = RequestError("overloaded_error", "try later", 529, retryable=True)
    assert parse_reply(Result("r-1", outcome, error=error), 3) == Reply((), error, 3)
    bare = parse_reply(Result("r-1", outcome), 3).error
    assert bare is not None
    assert (bare.type, bare.retryable) == (outcome, outcome == "expired")


@pytest.mark.parametrize("text", ["no\r\n\x1b[31mJSON\u2028here\x00", "x" * 5000, "\ud800" * 300])
def test_message_is_one_short_printable_line(text: str) -> None:
    """It goes to terminals and into a UTF-8 file."""
    message = error_of(text).message
    assert message.isprintable()
    assert len(message.encode()) < 300
