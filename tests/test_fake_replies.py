"""The fake's answers: fixed, in the language asked for, and true to the schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from batchfast.fake.languages import LANGUAGES
from batchfast.fake.replies import Ask, answer, distort

TEXTS = {"type": "object", "properties": {"texts": {"type": "array", "items": {"type": "string"}}}}


def ask(user: str = "Write 3 texts about snow.", schema: Any = None, **options: Any) -> Ask:
    return Ask("some-model", "", user, schema, **options)


def test_recursive_schema_ends() -> None:
    """A schema that refers to itself is followed to a depth, then ended."""
    node = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "required": ["name", "children"],
    }
    reply = answer(ask("Write 1 tree.", {"$ref": "#/$defs/node", "$defs": {"node": node}}), seed=0)
    assert reply.value["children"][0]["children"][0]["name"]


def test_same_request_same_answer() -> None:
    """The answer follows from prompt, model and seed alone."""
    assert answer(ask(), seed=1) == answer(ask(), seed=1)
    different = [answer(ask(), seed=2), answer(ask("Write 3 texts about rain."), seed=1), answer(ask(seed=9), seed=1)]
    assert len({reply.text for reply in (answer(ask(), seed=1), *different)}) == 4


def test_same_request_same_answer_in_another_process() -> None:
    """Nothing hangs on the order of sets or on the process."""
    schema = {"type": "object", "patternProperties": {"^[a-z]{3}$": {"pattern": "^x+[0-9]$"}}, "minProperties": 3,
              "properties": {name: {"enum": ["a", "b", "c"]} for name in "tuvw"},
              "dependentRequired": {"t": ["one", "two", "three"]}}  # fmt: skip
    code = (
        "import sys; from batchfast.fake.replies import Ask, answer;"
        f"sys.stdout.buffer.write(answer(Ask('some-model', '', 'Write of snow.', {schema!r}), seed=5).text.encode())"
    )
    texts = [
        subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, env={"PYTHONHASHSEED": salt}
        ).stdout
        for salt in ("1", "2")
    ]
    assert texts[0] == texts[1] == answer(ask("Write of snow.", schema), seed=5).text.encode()


def test_variants_differ() -> None:
    """Several answers to one request are not alike."""
    assert len({answer(ask(variant=number), seed=0).text for number in range(20)}) == 20


def test_samples_differ() -> None:
    """No two texts of one answer are alike."""
    texts = answer(ask("Write 50 texts about snow.", TEXTS), seed=0).value["texts"]
    assert len(texts) == len(set(texts)) == 50


@pytest.mark.parametrize(
    ("user", "description", "count"),
    [("Write 3 texts.", "Exactly 5 texts", 5), ("Write 3 texts.", "", 3), ("Write texts in v2.5.", "", 1)],
)
def test_number_of_items(user: str, description: str, count: int) -> None:
    """An array's description comes before the prompt, and one item is made where neither says."""
    schema = {"type": "array", "items": {"type": "string"}, "description": description}
    assert len(answer(ask(user, schema), seed=0).value) == count


STOP_WORDS = {
    "en": {"the", "of", "is", "who", "not", "every", "a", "to", "and", "that", "no"},
    "fr": {"les", "que", "est", "des", "rien", "tout", "le", "la", "et", "ce", "on", "de", "une", "au"},
    "de": {"und", "nicht", "sich", "wer", "hat", "aus", "wird", "das", "der", "die", "es", "man", "in"},
    "es": {"los", "lo", "hay", "que", "el", "la", "es", "de", "en", "y", "se", "una", "con", "por", "un"},
    "it": {"che", "di", "si", "oggi", "niente", "della", "il", "la", "è", "e", "non", "una", "ciò", "un"},
    "pt": {"não", "ninguém", "uma", "quem", "há", "se", "o", "a", "os", "que", "é", "de", "e", "em", "por", "um"},
    "nl": {"het", "een", "niet", "wat", "wie", "er", "heeft", "de", "en", "van", "is", "in", "zich"},
}
NAMES = [
    ("en", "English"), ("en", "language: en"), ("fr", "French"), ("fr", "français"), ("fr", "Langue: fr"),
    ("de", "German"), ("de", "Deutsch"), ("de", "de-DE"), ("es", "Spanish"), ("es", "ESPAÑOL"), ("es", "language=es"),
    ("it", "Italian"), ("it", "italiano"), ("it", "'it'"), ("pt", "Brazilian Portuguese"), ("pt", "português"),
    ("pt", "pt_BR"), ("nl", "Dutch"), ("nl", "Nederlands"), ("nl", "(language code: nl)"), ("ja", "Japanese"),
    ("ja", "日本語"), ("ja", "`ja`"), ("zh", "Simplified Chinese"), ("zh", "中文"), ("zh", "lang: zh"),
]  # fmt: skip
WRITTEN = [
    ("en", "Write a text on snow.", "snow"),
    ("fr", "Écris un texte de 3 paragraphes sur la neige.", "la neige"),
    ("de", "Schreibe einen Text über Schnee für Kinder.", "Schnee"),
    ("es", "Escribe un texto sobre la nieve con humor.", "la nieve"),
    ("it", "Scrivi un testo su Venezia per una rivista.", "Venezia"),
    ("pt", "Escreva um texto sobre a neve com humor.", "a neve"),
    ("nl", "Schrijf een tekst over sneeuw voor kinderen.", "sneeuw"),
    ("ja", "雪について文章を書いてください。", "雪"),
    ("zh", "写一篇关于雪的文章。", "雪"),
]


def spoken(text: str) -> str:
    """The code of the language a text is in, told by script or by the most stop words."""
    if re.search("[\u3040-\u30ff]", text):
        return "ja"
    if re.search("[\u4e00-\u9fff]", text):
        return "zh"
    words = re.findall(r"\w+", text.lower())
    return max(STOP_WORDS, key=lambda code: sum(word in STOP_WORDS[code] for word in words))


@pytest.mark.parametrize(("code", "name"), NAMES)
def test_answer_is_in_the_language_asked_for(code: str, name: str) -> None:
    """Named in English, in the language itself, or by an ISO code; around the prompt's own topic."""
    for seed in range(5):
        text = answer(ask(f"Write a review of a French film in {name} about Snow for children."), seed=seed).text
        assert spoken(text) == code
        assert "Snow" in text


@pytest.mark.parametrize(("code", "user", "topic"), WRITTEN)
def test_answer_is_in_the_prompts_own_language(code: str, user: str, topic: str) -> None:
    """Where none is named."""
    for seed in range(5):
        text = answer(ask(user), seed=seed).text
        assert spoken(text) == code
        assert topic in text.lower() + text


def test_words_that_only_look_like_a_language() -> None:
    """A French cook, an orange and "in it" ask for no language where another is asked for, or none."""
    assert spoken(answer(ask("Write in German of a meal in a French café, and the joy in it."), seed=0).text) == "de"
    assert spoken(answer(ask("Write about mandarin oranges, and what is in it."), seed=0).text) == "en"


def length_of(text: str) -> float:
    return len(text) / 2 if spoken(text) in ("ja", "zh") else len(text.split())


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("words", [(1, 1), (5, 9), (60, 150), (400, 400), (900, 1000)])
def test_length_is_as_set(code: str, words: tuple[int, int]) -> None:
    """In every language, for prose and for each sample."""
    user = f"Write 3 texts about Snow. Language: {code}"
    for seed in range(5):
        reply = answer(ask(user, TEXTS), seed=seed, words=words)
        for text in (answer(ask(user), seed=seed, words=words).text, *reply.value["texts"]):
            assert words[0] <= length_of(text) <= words[1]


@pytest.mark.parametrize(
    ("user", "least", "most"),
    [
        ("Write about 300 words on snow.", 270, 330),
        ("Write 3 texts of 20-30 words on snow.", 20, 30),
        ("Écris 300 mots sur la neige.", 270, 330),
        ("Schreibe zwischen 40 und 50 Wörter über Schnee.", 40, 50),
        ("雪について300字の文章を書いてください。", 135, 165),
    ],
)
def test_length_the_prompt_names_comes_first(user: str, least: int, most: int) -> None:
    """Before the setting, and it is no number of samples."""
    assert least <= length_of(answer(ask(user), seed=0, words=(1, 5)).text) <= most
    texts = answer(ask(user, TEXTS), seed=0).value["texts"]
    assert len(texts) == (3 if "3 texts" in user else 1)


@pytest.mark.parametrize(
    ("user", "least", "most"),
    [
        ("Write at least 1,000 words on snow.", 1000, 1201),
        ("Write no fewer than 50 words on snow.", 50, 61),
        ("Write 50 words or more on snow.", 50, 61),
        ("Write more than 20 words on snow.", 21, 25),
        ("Write no more than 10 words on snow.", 1, 10),
        ("Don't ever write more than 10 words on snow.", 1, 10),
        ("On snow: you must not exceed 10 words.", 1, 10),
        ("Write 100 words or fewer on snow.", 79, 100),
        ("Write of snow (30 words max).", 23, 30),
        ("Write fewer than 10 words on snow.", 1, 9),
        ("Write at most 1 word on snow.", 1, 1),
        ("Write 1,200-1,500 words on snow.", 1200, 1500),
        ("Schreibe höchstens 20 Wörter über Schnee.", 1, 20),
        ("雪について300字以内の文章を書いてください。", 1, 150),
        ("写一篇关于雪的文章。不超过300字。", 1, 150),
    ],
)
def test_a_bound_the_prompt_names_is_kept(user: str, least: int, most: int) -> None:
    """At least, at most, or fewer: in words before the number or after it, with commas in it or without."""
    for seed in range(10):
        assert least <= length_of(answer(ask(user), seed=seed).text) <= most


def test_a_year_is_no_length() -> None:
    """ "In 2024 words changed" asks for no 2024 of them; "in 2000 words" does ask."""
    assert length_of(answer(ask("In 2024 words changed a lot."), seed=0, words=(5, 9)).text) <= 9
    assert length_of(answer(ask("In 2000 words, how words changed."), seed=0, words=(5, 9)).text) >= 1800


def test_no_text_is_longer_than_5000_words() -> None:
    """Whatever a prompt asks for."""
    assert length_of(answer(ask("Write at least 90,000 words on snow."), seed=0).text) == 5000


def test_bounds_of_a_schema_come_before_lengths() -> None:
    """Characters the schema counts, whatever words are set."""
    schema = {"type": "string", "minLength": 700, "maxLength": 710}
    assert 700 <= len(answer(ask("Write 5 words.", schema), seed=0, words=(1, 5)).value) <= 710


def test_answer_is_cut_at_its_limit() -> None:
    """A text over max_tokens ends there, and says so."""
    reply = answer(ask(max_tokens=7), seed=0)
    assert (reply.finish, reply.output_tokens) == ("length", 7)
    assert answer(ask(), seed=0).text.startswith(reply.text)


def test_distortions() -> None:
    """Each spoils the answer in its own way, and nothing else."""
    asked = ask("Write 3 texts.", TEXTS)
    reply = answer(asked, seed=0)

    def spoiled(action: str) -> str:
        return distort(asked, reply, [action]).text

    assert len(json.loads(spoiled("too_few"))["texts"]) == 2
    assert len(json.loads(spoiled("too_many"))["texts"]) == 4
    assert spoiled("fence") == f"```json\n{reply.text}\n```"
    assert spoiled("empty") == ""
    assert reply.text.startswith(spoiled("truncate")) and spoiled("truncate").count('"') % 2 == 1
    for action in ("malform", "truncate", "refuse"):
        with pytest.raises(ValueError):
            json.loads(spoiled(action))
