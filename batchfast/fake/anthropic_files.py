"""
Anthropic's Files API: upload, list, look, delete, and the content of files that tools have made.

Read in the types and docstrings of the official SDK (2.12, where the beta has become `client.files` and needs no beta
header) and, for sizes and names, in the service's guide. Of traffic there was one published answer, the metadata of a
file of 2026-08: order of fields and form of times are those, but it has no `expires_at` yet. A download's headers and
the words of most errors are our guess.

Nothing here runs tools. So that downloads can be tested, an uploaded file whose name starts with `generated-` counts
as one that a tool made; any other upload can be referred to but not be had back, as at the service.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from mimetypes import MimeTypes
from typing import Any
from urllib.parse import quote

from starlette.datastructures import Headers, UploadFile
from starlette.responses import Response

from batchfast.fake.anthropic_body import new_id
from batchfast.fake.anthropic_wire import common_headers, error_response, json_response
from batchfast.fake.ids import FRESH
from batchfast.fake.records import File
from batchfast.fake.service import Endpoint, Incoming, send_file
from batchfast.fake.state import State

MAX_FILE_BYTES = 500_000_000
LEAST_LIFETIME_S = 3600
MOST_LIFETIME_S = 90 * 86_400
MAX_IDS = 100
UNKNOWN_TYPE = "application/octet-stream"
_FORBIDDEN = re.compile(r'[<>:"|?*\\\x00-\x1f]')
_GENERATED = "generated-"
# Sets these files apart from those with the results of batches, which are not to be had here.
_PURPOSE = "file"
# Without the tables of the machine: they differ from one to the next.
_TYPES = MimeTypes()

Json = dict[str, Any]


class AnthropicFiles:
    """The routes under `/v1/files`."""

    def __init__(self, state: State, provider: str) -> None:
        self._state = state
        self._provider = provider

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("POST", "/v1/files", "upload", self._upload),
            Endpoint("GET", "/v1/files", "list_files", self._list),
            Endpoint("GET", "/v1/files/{id}", "file", self._file),
            Endpoint("DELETE", "/v1/files/{id}", "delete_file", self._delete),
            Endpoint("GET", "/v1/files/{id}/content", "results", self._content),
        ]

    def _upload(self, call: Incoming) -> Response:
        upload, lifetime = _uploaded(call), call.form.get("expires_in_seconds")
        if upload is None:
            return error_response(400, "file: Field required")
        if (upload.size or 0) > MAX_FILE_BYTES:
            return error_response(413, "Request exceeds the maximum size")
        name = (upload.filename or "").rpartition("/")[2]
        mime_type = upload.content_type or _TYPES.guess_type(name)[0] or UNKNOWN_TYPE
        name = name or "unnamed" + (_TYPES.guess_extension(mime_type) or "")
        if len(name) > 255 or _FORBIDDEN.search(name):
            rule = 'Filename must be 1-255 characters, without control characters and any of < > : " | ? * \\'
            return error_response(400, f"file: {rule}")
        if lifetime is not None and not _is_lifetime(lifetime):
            rule = f"Input should be a whole number between {LEAST_LIFETIME_S} and {MOST_LIFETIME_S}"
            return error_response(400, f"expires_in_seconds: {rule}")
        file_id = "file_" + new_id(FRESH)
        size = self._state.files.write(file_id, iter(lambda: upload.file.read(1 << 18), b""))
        now = self._state.now()
        # Not the expiry of the state's file: only the content goes then, what is known of it stays.
        ends_at = None if lifetime is None else now + int(str(lifetime))
        detail = {"mime_type": mime_type, "ends_at": ends_at}
        file = File(file_id, self._provider, name, _PURPOSE, size, now, None, detail)
        return json_response(_object(self._state.files.add(file)))

    def _list(self, call: Incoming) -> Response:
        # By time and id, so that a cursor keeps its place when the file it was made of is deleted.
        files = [one for one in self._state.files.all(self._provider) if one.purpose == _PURPOSE]
        files.sort(key=_place, reverse=True)
        if call.lag_s is not None:
            files = [one for one in files if one.created_at <= self._state.now() - call.lag_s]
        if "scope_id" in call.query:
            files = []  # what sessions leave behind, of which there are none here
        ids = {*call.query.getlist("ids[]"), *call.query.getlist("ids")}
        if ids:
            return _chosen(call, files, ids)
        limit = call.whole("limit", 20, most=1000)
        if limit is None:
            return error_response(400, "limit: Input should be between 1 and 1000")
        if "page" in call.query:
            place = _read_cursor(call.query["page"])
            if place is None:
                return error_response(400, f"page: Invalid cursor: {call.query['page']}")
            files = [one for one in files if _place(one) < place]
        return _page(files[:limit], more=len(files) > limit)

    def _file(self, call: Incoming) -> Response:
        file = self._find(call)
        return _no_file(call) if file is None else json_response(_object(file))

    def _delete(self, call: Incoming) -> Response:
        if self._find(call) is None or not self._state.files.delete(self._provider, call.path["id"]):
            return _no_file(call)
        return json_response({"id": call.path["id"], "type": "file_deleted"})

    def _content(self, call: Incoming) -> Response:
        file = self._find(call)
        if file is None:
            return _no_file(call)
        if not _downloadable(file):
            return error_response(400, f"File is not downloadable: {file.id}", code="file_not_downloadable")
        if file.detail["ends_at"] is not None and self._state.now() >= file.detail["ends_at"]:
            return error_response(404, f"File has expired: {file.id}", code="file_expired")
        headers = {"content-disposition": f"attachment; filename*=utf-8''{quote(file.name)}", **common_headers()}
        return send_file(self._state.files.path(file.id), headers, file.detail["mime_type"])

    def _find(self, call: Incoming) -> File | None:
        file = self._state.files.get(self._provider, call.path["id"])
        return file if file is not None and file.purpose == _PURPOSE else None


def _uploaded(call: Incoming) -> UploadFile | None:
    """The form's file; None if there is none."""
    part = call.form.get("file")
    if not isinstance(part, str):
        return part
    # The SDK sends bare bytes without a name, and a part without one is read as text.
    content = part.encode()
    return UploadFile(io.BytesIO(content), size=len(content), headers=Headers({"content-type": UNKNOWN_TYPE}))


def _is_lifetime(value: str | UploadFile) -> bool:
    if not isinstance(value, str) or not value.isdecimal() or len(value) > 12:
        return False
    return LEAST_LIFETIME_S <= int(value) <= MOST_LIFETIME_S


def _downloadable(file: File) -> bool:
    return file.name.startswith(_GENERATED)


def _object(file: File) -> Json:
    ends_at = file.detail["ends_at"]
    return {
        "type": "file",
        "id": file.id,
        "size_bytes": file.size,
        "created_at": _time(file.created_at),
        "filename": file.name,
        "mime_type": file.detail["mime_type"],
        "downloadable": _downloadable(file),
        "expires_at": None if ends_at is None else _time(ends_at),
    }


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


# Pages


def _chosen(call: Incoming, files: Iterable[File], ids: set[str]) -> Response:
    """Those with one of the ids, on one page; an id that is nobody's is passed over."""
    if "limit" in call.query or "page" in call.query:
        return error_response(400, "ids: Cannot be combined with limit or page")
    if len(ids) > MAX_IDS:
        return error_response(400, f"ids: List should have at most {MAX_IDS} items, not {len(ids)}")
    return _page([one for one in files if one.id in ids], more=False)


def _page(files: list[File], *, more: bool) -> Response:
    return json_response({"data": [_object(one) for one in files], "next_page": _cursor(files[-1]) if more else None})


def _place(file: File) -> tuple[float, str]:
    return file.created_at, file.id


def _cursor(file: File) -> str:
    return "page_" + base64.urlsafe_b64encode(f"{file.created_at!r} {file.id}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[float, str] | None:
    """The place of the last file before a page; None if no listing gave this cursor."""
    prefix, _, coded = text.partition("_")
    try:
        moment, _, file_id = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4)).decode().partition(" ")
        return (float(moment), file_id) if prefix == "page" else None
    except (binascii.Error, ValueError):
        return None


def _no_file(call: Incoming) -> Response:
    return error_response(404, f"File not found: {call.path['id']}")
