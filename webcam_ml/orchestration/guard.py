"""Run config is judged before the first step.

Dagster ignores entries for assets outside the selection, misspelt ones too, and runs the rules of a
config class only when its step starts, which may be after an hour of work.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from dagster import Config
from pydantic import ValidationError

from webcam_ml.errors import WebcamMLError
from webcam_ml.orchestration.config import CONFIG_BY_ASSET, AssetConfig

# Fields that take any text and end in evidence, reports or the ledger.
FREE_TEXT = (
    "curator_sessions",
    "definition_change",
    "local_root",
    "model_version",
    "relaxed_because",
)


class RunConfigError(WebcamMLError):
    """The run config has entries that no asset understands, or values that make no sense."""


def judge_run_config(
    run_config: Mapping[str, Any], *, assets: Collection[str], selected: Collection[str] | None
) -> list[str]:
    """Check every entry for every asset, whether or not it takes part in the run.

    Args:
        run_config: What the user gave, as Dagster recorded it with the run.
        assets: Names of all assets in the graph.
        selected: Names of the assets in the run; None for all.

    Returns:
        Warnings: config for assets that are not in the run and is therefore without effect.

    Raises:
        RunConfigError: All faults at once, one a line.
    """
    entries = run_config.get("ops") or {}
    faults = [fault for name, entry in entries.items() for fault in _faults(name, entry, assets)]
    if faults:
        raise RunConfigError(
            "nothing was run, because the run config is not right:\n"
            + "\n".join(f"- {fault}" for fault in faults)
        )
    if selected is None:
        return []
    return [
        f"config is given for {name}, which is not selected: it has no effect, and what is stored "
        f"of {name} is used as it is. Add it to --select to apply the config"
        for name in entries
        if name not in selected
    ]


def fields_for(asset: str, run_config: Mapping[str, Any]) -> dict[str, Any]:
    """Give what a run config that has been judged says about an asset: the fields of its config."""
    return _fields({"config": config_of(asset, run_config)})


def _fields(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields under `config`, those from the environment resolved."""
    return {field: _from_environment(value) for field, value in (entry.get("config") or {}).items()}


def _faults(name: str, entry: Any, assets: Collection[str]) -> Iterator[str]:
    if name not in assets:
        yield f"ops: {name}: there is no asset of that name{_suggestion(name, assets)}"
        return
    if name not in CONFIG_BY_ASSET:
        yield f"ops: {name}: this asset has no config; it follows from its inputs"
        return
    if not isinstance(entry, Mapping) or set(entry) - {"config"}:
        yield f"ops: {name}: expected one key, config, with the fields under it; found {entry!r}"
        return
    if not isinstance(entry.get("config") or {}, Mapping):
        yield f"ops: {name}: config: expected fields with values, found {entry['config']!r}"
        return
    values = _fields(entry)
    config_class = CONFIG_BY_ASSET[name]
    unknown = list(_unknown_fields(values, config_class))
    for fault in unknown:
        yield f"ops: {name}: config: {fault}"
    if unknown:
        return
    written = entry.get("config") or {}
    refused = [field for field in FREE_TEXT if variables_in(written.get(field))]
    for field in refused:
        yield (
            f"ops: {name}: config: {field}: a text that is stored with the model cannot come from the "
            "environment, where passwords are: write it out"
        )
    if not refused:
        yield from _value_faults(name, written, values)


def _value_faults(
    name: str, written: Mapping[str, Any], values: Mapping[str, Any]
) -> Iterator[str]:
    """Judge values; those from the environment are never shown, since a password may be there."""
    try:
        config = CONFIG_BY_ASSET[name](**values)
    except ValidationError as error:
        for detail in error.errors():
            found = f"found {detail['input']!r}"
            if variables_in(_at(written, detail["loc"])):
                found = f"found in the environment variable {_named(written, detail['loc'])} (not shown)"
            field = ".".join(str(part) for part in detail["loc"])
            yield f"ops: {name}: config: {field}: {detail['msg']}, {found}"
        return
    assert isinstance(config, AssetConfig)
    try:
        config.settings()
    except WebcamMLError as error:
        fault = str(error)
        if variables := variables_in(written):
            # The sentence may name any value.
            fault = (
                f"not right with what the environment has as {', '.join(sorted(variables))}, which is "
                "not shown: write the value out to see why"
            )
        yield f"ops: {name}: config: {fault}"


def variables_in(value: Any) -> set[str]:
    """Name the environment variables that a part of a run config takes values from."""
    if _is_from_environment(value):
        return {str(value["env"])}
    if isinstance(value, Mapping):
        return set().union(*(variables_in(part) for part in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(variables_in(part) for part in value))
    return set()


def config_of(asset: str, run_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give what a run config says under `config` of an asset, as it is written."""
    return ((run_config.get("ops") or {}).get(asset) or {}).get("config") or {}


def as_written(resolved: Mapping[str, Any], written: Mapping[str, Any]) -> dict[str, Any]:
    """Give config as it may be stored: where a value came from the environment, only its name.

    Args:
        resolved: The config that a step got, defaults filled in.
        written: The same part of the run config.
    """
    kept = dict(resolved)
    for field, value in written.items():
        if isinstance(value, Mapping) and not _is_from_environment(value):
            kept[field] = as_written(kept.get(field) or {}, value)
        elif variables_in(value):
            kept[field] = value
    return kept


def _at(written: Any, place: tuple[int | str, ...]) -> Any:
    """Give the part of a config that a fault is about, as far as it is written."""
    for part in place:
        if _is_from_environment(written):
            break
        try:
            written = written[part]
        except (LookupError, TypeError):
            break  # a default, or deeper than what was written
    return written


def _named(written: Any, place: tuple[int | str, ...]) -> str:
    return ", ".join(sorted(variables_in(_at(written, place))))


def _is_from_environment(value: Any) -> bool:
    """Whether this is Dagster's way of naming an environment variable: ``{env: NAME}``."""
    return isinstance(value, Mapping) and set(value) == {"env"}


def _unknown_fields(values: Mapping[str, Any], config_class: type[Config]) -> Iterator[str]:
    """Name fields that are not there, also in a group of fields, which pydantic would pass over."""
    for field, value in values.items():
        if field not in config_class.model_fields:
            yield f"there is no field {field}{_suggestion(field, config_class.model_fields)}"
            continue
        group = config_class.model_fields[field].annotation
        if isinstance(group, type) and issubclass(group, Config) and isinstance(value, Mapping):
            for fault in _unknown_fields(value, group):
                yield f"{field}: {fault}"


def _from_environment(value: Any) -> Any:
    """Resolve what names environment variables, also in groups and lists."""
    if _is_from_environment(value):
        return os.environ.get(str(value["env"]))
    if isinstance(value, Mapping):
        return {field: _from_environment(part) for field, part in value.items()}
    if isinstance(value, list | tuple):
        return [_from_environment(part) for part in value]
    return value


def _suggestion(name: str, known: Collection[str]) -> str:
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean {close[0]}?"
    return f"; there are {', '.join(sorted(known))}"
