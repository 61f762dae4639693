"""What a user may choose. Each rule is declared once, beside the default and the meaning of its field.

From a class of settings follow its own checks and messages, the config schema that Dagster shows, and
the table in ``docs/configuration.md``. A rule about one field is a type or a bound of that field; a
rule about several is a validator of the last of them, which finds the others in ``info.data`` unless
they are wrong themselves: so all faults are named at once.
"""

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from webcam_ml.errors import WebcamMLError

KINDS: Mapping[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    timedelta: "a time",
}
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with settings.

    Attributes:
        place: The field, after the groups that it stands in.
        text: One sentence or two; may show the value, and the values of other fields.
        rule: What the field must be, whatever the other fields are; empty for any other fault.
    """

    place: tuple[str, ...]
    text: str
    rule: str = ""

    def __str__(self) -> str:
        return ": ".join((*self.place[:-1], self.text))


class SettingsError(WebcamMLError, ValueError):
    """Settings that make no sense.

    Attributes:
        faults: All that is wrong.
    """

    def __init__(self, *faults: Fault) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


@dataclass(frozen=True, eq=False)
class OneOf:
    """The rule of a field whose value is one of the names in a list that can be extended.

    Attributes:
        entries: By their names.
        or_beginning: Names that begin so are another's to judge; none if empty.
    """

    entries: Mapping[str, object]
    or_beginning: str = ""

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self._judge)

    def _judge(self, value: object) -> object:
        if not isinstance(value, str) or not (
            value in self.entries or (self.or_beginning and value.startswith(self.or_beginning))
        ):
            raise PydanticCustomError("one_of", "not in the list")
        return value


@dataclass(frozen=True)
class Why:
    """Why a field has the bounds that it has: the end of the sentence that refuses a value."""

    reason: str


@dataclass(frozen=True)
class WrittenOut:
    """The rule of a text that is stored or shown: never taken from the environment (passwords)."""


class Settings(BaseModel):
    """Base of all settings: frozen, compared by value, and checked when they are made.

    Raises:
        SettingsError: A field is unknown, or a value is of the wrong type or makes no sense.
    """

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        validate_default=True,
        protected_namespaces=(),
    )

    def __init__(self, /, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = (f for one in error.errors() for f in _faults(type(self), one))
            raise SettingsError(*faults) from None

    def judge_before_run(self) -> None:
        """Check what the values alone do not show: what this machine has, which reason is missing.

        Raises:
            WebcamMLError: A run with these settings would fail, or be refused.
        """

    def part(self, kind: "type[SettingsT]") -> "SettingsT":
        """Give those fields that belong to one of the base classes, as an object of that class."""
        return kind(**{name: getattr(self, name) for name in kind.model_fields})


SettingsT = TypeVar("SettingsT", bound=Settings)


def choices(field: FieldInfo) -> tuple[str, ...]:
    """List what a field may be, if it is one of several names."""
    if get_origin(field.annotation) is Literal:
        return tuple(get_args(field.annotation))
    return next((tuple(rule.entries) for rule in field.metadata if isinstance(rule, OneOf)), ())


def other_beginning(field: FieldInfo) -> str:
    """Give what names begin with that a field takes beside its choices; empty if it takes no others."""
    return next((rule.or_beginning for rule in field.metadata if isinstance(rule, OneOf)), "")


def kind_of(field: FieldInfo) -> Any:
    """Give the type of a field's values, leaving out None for an optional field."""
    kinds = [kind for kind in get_args(field.annotation) if kind is not NoneType]
    return kinds[0] if get_origin(field.annotation) in (Union, UnionType) else field.annotation


def group_of(field: FieldInfo | None) -> "type[Settings] | None":
    """Give the settings that a field groups, if it groups some."""
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, Settings) else None


def allowed(field: FieldInfo) -> str:
    """Say in words what a field may be."""
    if names := choices(field):
        beginning = other_beginning(field)
        return _either((*names, f"{beginning}…") if beginning else names)
    if get_origin(field.annotation) is tuple:
        return "a list of texts"
    if group_of(field):
        return "a group of fields"
    bounds = {
        bound: getattr(rule, bound)
        for rule in field.metadata
        for bound in ("ge", "gt", "le", "lt", "max_length")
        if hasattr(rule, bound)
    }
    return " ".join((KINDS[kind_of(field)], *_range(bounds))).strip()


def default_of(field: FieldInfo) -> Any:
    """Give a field's default; None where it depends on other fields."""
    if field.default_factory_takes_validated_data:
        return None
    return field.get_default(call_default_factory=True)


def as_text(value: Any) -> str:
    """Write a value as people read it."""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g} seconds"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _range(bounds: Mapping[str, Any]) -> Iterator[str]:
    texts = {bound: as_text(value) for bound, value in bounds.items()}
    if "ge" in texts and "le" in texts:
        yield f"from {texts['ge']} to {texts['le']}"
        return
    words = {"ge": "of at least", "gt": "above", "le": "at most", "lt": "below"}
    found = [f"{word} {texts[bound]}" for bound, word in words.items() if bound in texts]
    yield " and ".join(found)
    if "max_length" in texts:
        yield f"of at most {texts['max_length']} characters"


def _faults(settings: type[Settings], error: ErrorDetails) -> Iterator[Fault]:
    """Turn what pydantic found at one field into sentences."""
    name = str(error["loc"][0])
    if error["type"] == "default_factory_not_called":
        return  # the field that the default depends on is wrong, and is reported itself
    if error["type"] == "extra_forbidden":
        near = suggestion(name, tuple(settings.model_fields))
        yield Fault((name,), f"there is no field {name}{near}")
        return
    if error["type"] == "missing":
        yield Fault((name,), f"{name} is missing")
        return
    reason = error.get("ctx", {}).get("error")
    if isinstance(reason, SettingsError):
        yield from (replace(fault, place=(name, *fault.place)) for fault in reason.faults)
    elif isinstance(reason, ValueError):
        yield Fault((name,), str(reason))
    else:
        yield _refusal(name, settings.model_fields[name], error["input"])


def _refusal(name: str, field: FieldInfo, value: Any) -> Fault:
    shown = as_text(value) if isinstance(value, timedelta) else _SHORT.repr(value)
    near = get_close_matches(str(value), choices(field), n=1)
    mean = f"; did you mean {near[0]}?" if near else ""
    why = "".join(f": {rule.reason}" for rule in field.metadata if isinstance(rule, Why))
    default = default_of(field)
    usual = "" if default in (None, "", ()) or isinstance(default, Settings) else as_text(default)
    ending = mean or (f". The default is {usual}" if usual else "")
    rule = f"it must be {allowed(field)}"
    return Fault((name,), f"{name} is {shown}; {rule}{why}{ending}", rule)


def suggestion(name: str, known: tuple[str, ...]) -> str:
    """Say which name may have been meant, or which there are; the end of a sentence."""
    near = get_close_matches(name, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; there are {', '.join(sorted(known))}"


def _either(names: tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
