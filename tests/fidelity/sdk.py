"""A strict look at JSON through the types of an SDK, which themselves take nearly anything."""

from __future__ import annotations

import enum
import types
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError


def misfits(value: Any, kind: Any, at: str = "") -> list[str]:
    """
    Where a value is not what an SDK's type says: "Model.member: extra", "... missing" or "... is not int".

    Of a union the nearest member counts. Where pydantic would convert, this does not, with two exceptions that are
    how JSON writes things: a time is a string, and so are Google's 64-bit integers.
    """
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return list(_in_model(value, kind)) if isinstance(value, dict) else [f"{at}: is not {kind.__name__}"]
    if kind is Any or kind is object or isinstance(kind, TypeVar):
        return []
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return misfits(value, inner[0], at)
    if origin in (Union, types.UnionType):
        there = [one for one in inner if value is None or one is not type(None)]
        return min((misfits(value, one, at) for one in there), key=len)
    if origin is list and isinstance(value, list):
        return [one for item in value for one in misfits(item, inner[0], at)]
    if origin is dict and isinstance(value, dict):
        return [one for item in value.values() for one in misfits(item, inner[1], at)]
    if origin is Literal:
        return [] if value in inner else [f"{at}: {value!r} is none of its words"]
    return [] if _is(value, kind) else [f"{at}: is not {getattr(kind, '__name__', kind)}"]


def _in_model(value: dict[str, Any], model: type[BaseModel]) -> Iterator[str]:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    google = model.__module__.startswith("google.")
    name_of = model.__name__.partition("[")[0]
    yield from (
        f"{name_of}.{name}: missing" for name, field in fields.items() if field.is_required() and name not in value
    )
    for name, member in value.items():
        at = f"{name_of}.{name}"
        if name not in fields:
            yield f"{at}: extra"
        elif not (google and isinstance(member, str) and member.isdecimal() and _takes_int(fields[name].annotation)):
            yield from misfits(member, fields[name].annotation, at)


def _takes_int(kind: Any) -> bool:
    return int in (kind, *get_args(kind))


def _is(value: Any, kind: Any) -> bool:
    if kind is type(None):
        return value is None
    if kind is float:
        return type(value) in (int, float)
    if kind is datetime:
        return isinstance(value, str) and _is_time(value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value in {one.value for one in kind}
    return type(value) is kind


def _is_time(value: str) -> bool:
    try:
        TypeAdapter(datetime).validate_python(value)
    except ValidationError:
        return False
    return True
