"""How vcrpy is set up here: what makes two calls the same, and how a cassette is written."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from batchfast.cassettes.scrub import SECRET_PARAMETERS, Scrubber
from batchfast.errors import ConfigError

if TYPE_CHECKING:
    from vcr import VCR  # type: ignore[import-untyped]
    from vcr.request import Request  # type: ignore[import-untyped]

_VERSION = "/v1(?:alpha|beta)?"
_VERSIONED = re.compile(rf".*?(?P<place>/upload|/download)?{_VERSION}(?P<path>/.*)")
# No base URL ends within these: /v1/fine_tuning/batches is not /v1/batches behind a gateway called "fine_tuning".
_RESOURCES = frozenset(
    {
        *("assistants", "batches", "cachedContents", "chat", "containers", "corpora", "download", "evals", "files"),
        *("fileSearchStores", "fine_tuning", "messages", "models", "organization", "organizations", "responses"),
        *("threads", "tunedModels", "upload", "uploads", "vector_stores"),
    }
)


def recorder(scrubber: Scrubber | None = None) -> VCR:
    """
    vcrpy as cassettes need it.

    Args:
        scrubber: For recording. Without one a cassette is played as it is, whoever recorded it, and calls are compared
            as they are sent, less parameters that hold a key. vcrpy's exception about a call that is not on the
            cassette shows its whole address, such a parameter included.

    Raises:
        ConfigError: vcrpy is missing.
    """
    try:
        import vcr
    except ModuleNotFoundError as exc:
        raise ConfigError(f"cassettes need {exc.name}: pip install 'batchfast[pytest]'") from exc
    tape = vcr.VCR(
        match_on=("method", "service_path", "asked", "content"),
        before_record_request=scrubber.request if scrubber else None,
        before_record_response=scrubber.response if scrubber else None,
        decode_compressed_response=scrubber is not None,
    )
    tape.register_serializer("readable", _Readable)
    tape.register_matcher("service_path", _same_path)
    tape.register_matcher("asked", _same_query)
    tape.register_matcher("content", _same_content)
    return tape


class _Readable:
    """YAML with bodies of several lines written as such, so that two recordings can be compared by eye."""

    @staticmethod
    def serialize(cassette: dict[str, Any]) -> str:
        import yaml  # type: ignore[import-untyped]

        def represent(dumper: Any, text: str) -> Any:
            return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

        dumper = type("Dumper", (yaml.SafeDumper,), {})  # a class of its own: representers are kept by class
        yaml.add_representer(str, represent, dumper)
        text: str = yaml.dump(cassette, Dumper=dumper, sort_keys=False, width=1 << 20)
        return text

    @staticmethod
    def deserialize(text: str) -> Any:
        import yaml

        return yaml.safe_load(text)


def _same_path(sent: Request, recorded: Request) -> None:
    """What comes before the service's own path is a matter of the base URL, the version one of the SDK's release."""
    found = _VERSIONED.fullmatch(recorded.path)
    place, path = (found["place"] or "", found["path"]) if found else ("", recorded.path)
    same = re.fullmatch(f"(?P<base>.*?){place}(?:{_VERSION})?{re.escape(path)}", sent.path)
    if same is None or not _RESOURCES.isdisjoint(same["base"].split("/")):
        raise AssertionError(f"{sent.path} is not {recorded.path}")  # vcrpy's way of hearing why not


def _same_query(sent: Request, recorded: Request) -> None:
    """A key in an address makes no difference: cassettes hold none."""
    ours, theirs = (sorted(pair for pair in one.query if pair[0] not in SECRET_PARAMETERS) for one in (sent, recorded))
    if ours != theirs:
        raise AssertionError(f"the query is {ours}, the recorded one {theirs}")


def _same_content(sent: Request, recorded: Request) -> None:
    ours, theirs = _content(sent), _content(recorded)
    if ours != theirs:
        raise AssertionError(f"the body is {ours!r}, the recorded one {theirs!r}")


def _content(request: Request) -> Any:
    """A body as what it means: the parts of a form in no order, JSON, or JSON line by line; else its bytes."""
    body: bytes = request.body or b""
    kind, _, boundary = request.headers.get("content-type", "").partition("boundary=")
    if not kind.startswith("multipart/form-data"):
        return _parsed(body)
    parts = [part.partition(b"\r\n\r\n") for part in body.split(b"--" + boundary.strip('"').encode())[1:-1]]
    return sorted(((head.strip(), _parsed(content.removesuffix(b"\r\n"))) for head, _, content in parts), key=repr)


def _parsed(content: bytes) -> Any:
    """Written anew where it is JSON: in Python 1, 1.0 and true would be the same."""
    try:
        return _canonical(content)
    except ValueError:
        pass
    try:
        return [_canonical(line) for line in content.split(b"\n") if line.strip()]
    except ValueError:
        return content


def _canonical(content: bytes) -> str:
    return json.dumps(json.loads(content), sort_keys=True, ensure_ascii=False)
