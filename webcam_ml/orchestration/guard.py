"""Run config is judged before the first step.

Dagster ignores entries for assets outside the selection, misspelt ones too, and checks neither
bounds of numbers nor rules between fields.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from dagster import DagsterInvalidConfigError

from webcam_ml.contracts import (
    Fault,
    Settings,
    SettingsError,
    WrittenOut,
    choices,
    group_of,
    suggestion,
)
from webcam_ml.errors import WebcamMLError
from webcam_ml.features import OPSET
from webcam_ml.orchestration.config import SETTINGS_BY_ASSET
from webcam_ml.store import CACHE_VARIABLE, STORE_VARIABLE

# What an earlier version had as a setting, with the one value that it could have.
REMOVED = {"onnx_model": {"opset": OPSET}}
# The one op that is no asset: its config is that of assets, in the runs that it starts.
BOTH_TARGETS = "both_targets"


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
        Warnings: config that has no effect, for assets that are not in the run or from an earlier
        version.

    Raises:
        RunConfigError: All faults at once, one a line.
    """
    entries = run_config.get("ops") or {}
    faults = [fault for name, entry in entries.items() for fault in _faults(name, entry, assets)]
    faults += _outside_ops(run_config)
    if faults:
        raise RunConfigError(_refusal(faults))
    return [
        warning
        for name, entry in entries.items()
        for warning in _without_effect(name, entry, selected)
    ]


def judge_engine(
    run_config: Mapping[str, Any], *, engine: str, selected: Collection[str] | None
) -> None:
    """Check that there is a cluster if a run config that was judged asks for one.

    Args:
        run_config: As for `judge_run_config`.
        engine: `local` or `ray`; what is neither is refused where it is opened.
        selected: As for `judge_run_config`.

    Raises:
        RunConfigError: The engine is local.
    """
    from webcam_ml.training import TrainingSettings, needs_cluster

    if selected is not None and "checkpoint" not in selected:
        return
    number = TrainingSettings(**fields_for("checkpoint", run_config)).finetune.num_workers
    if number > 1 and engine == "local":
        fault = f"ops: checkpoint: config: finetune: {needs_cluster(number)}"
        raise RunConfigError(_refusal([fault]))


def sentences_about(error: BaseException, *, assets: Collection[str]) -> str | None:
    """Say what is wrong with a run config that Dagster has refused, all of it; None of other errors."""
    if not isinstance(error, DagsterInvalidConfigError):
        return None
    run_config = error.config_value or {}
    try:
        if BOTH_TARGETS in (run_config.get("ops") or {}):
            judge_both_targets(run_config, assets=assets)
        else:
            judge_run_config(run_config, assets=assets, selected=None)
    except RunConfigError as found:
        return str(found)
    return _refusal([one.message for one in error.errors])


def _refusal(faults: Collection[str]) -> str:
    return "nothing was run, because the run config is not right:\n" + "\n".join(
        f"- {fault}" for fault in faults
    )


def fields_for(asset: str, run_config: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of an asset's settings from a run config that has been judged."""
    return _resolved(SETTINGS_BY_ASSET[asset], config_of(asset, run_config))


def _outside_ops(run_config: Mapping[str, Any]) -> Iterator[str]:
    """Refuse values from the environment where they would be folders, which logs and pages show."""
    for part, entry in run_config.items():
        if part != "ops" and (variables := variables_in(entry)):
            yield (
                f"{part}: nothing here can come from the environment, where passwords are (found: "
                f"{', '.join(sorted(variables))}): write it out. {STORE_VARIABLE} and {CACHE_VARIABLE} "
                "name the folders of artifacts and caches without any run config"
            )


def _faults(name: str, entry: Any, assets: Collection[str]) -> Iterator[str]:
    if name == BOTH_TARGETS:
        yield (
            f"ops: {name}: this is the config of a job, and no asset's: dagster job execute -m "
            f"webcam_ml.definitions -j {name} -c FILE"
        )
        return
    if name not in assets:
        yield f"ops: {name}: there is no asset of that name{suggestion(name, tuple(assets))}"
        return
    if not isinstance(entry, Mapping) or set(entry) - {"config"}:
        yield f"ops: {name}: expected one key, config, with the fields under it; found {entry!r}"
        return
    fields = entry.get("config") or {}
    if not isinstance(fields, Mapping):
        yield f"ops: {name}: config: expected fields with values, found {fields!r}"
        return
    if name in SETTINGS_BY_ASSET:
        for fault in _faults_of_fields(SETTINGS_BY_ASSET[name], fields):
            yield f"ops: {name}: config: {fault}"
        return
    removed = REMOVED.get(name, {})
    for field, value in fields.items():
        if field not in removed:
            yield f"ops: {name}: this asset has no config; it follows from its inputs"
        elif value != removed[field]:
            yield (
                f"ops: {name}: config: {field} {value!r} is not possible: it is always "
                f"{removed[field]}, and no setting any more. Take it out"
            )


def judge_both_targets(run_config: Mapping[str, Any], *, assets: Collection[str]) -> None:
    """Check the config of the job `both_targets`, which has the fields of assets by their name.

    Raises:
        RunConfigError: All faults at once, one a line.
    """
    faults = list(_faults_of_both(config_of(BOTH_TARGETS, run_config), assets))
    if faults:
        raise RunConfigError(_refusal(faults))


def _faults_of_both(written: Mapping[str, Any], assets: Collection[str]) -> Iterator[str]:
    begin = f"ops: {BOTH_TARGETS}: config:"
    for name, fields in written.items():
        for fault in _faults(name, {"config": fields}, assets):
            yield f"{begin} {name}: " + fault.removeprefix(f"ops: {name}: ").removeprefix(
                "config: "
            )
    if "target_type" in (written.get("manifest_full") or {}):
        yield f"{begin} manifest_full: target_type has no place here: both are asked. Take it out"
    training = written.get("checkpoint") or {}
    for field, value in (("strategy", "finetune"), ("model_name", "auto")):
        if training.get(field) == value:
            yield (
                f"{begin} checkpoint: {field} {value} may give each target type a backbone of its own, and "
                "one file needs one backbone for both. Choose another, or run the whole graph for each "
                "target type (configs/regression.yaml)"
            )


def _faults_of_fields(settings: type[Settings], written: Mapping[str, Any]) -> Iterator[str]:
    """Judge fields; values from the environment are never shown, since a password may be there."""
    refused = {fault.place: fault for fault in _not_from_environment(settings, written)}
    yield from map(str, refused.values())
    try:
        made = settings(**_resolved(settings, written))
        if not refused:
            made.judge_before_run()
    except SettingsError as error:
        for fault in error.faults:
            # A rule between fields cannot be judged where the value of one is refused.
            if fault.place not in refused and (fault.rule or not refused):
                yield _shown(fault, written)
    except WebcamMLError as error:
        yield _shown(Fault((), str(error)), written)


def _not_from_environment(
    settings: type[Settings], written: Mapping[str, Any], group: tuple[str, ...] = ()
) -> Iterator[Fault]:
    """Name the fields that have to be written out, and name an environment variable."""
    for name, value in written.items():
        field = settings.model_fields.get(name)
        inner, place = group_of(field), (*group, name)
        if field is None or not variables_in(value):
            continue
        if inner is not None and not _is_from_environment(value) and isinstance(value, Mapping):
            yield from _not_from_environment(inner, value, place)
        elif any(isinstance(rule, WrittenOut) for rule in field.metadata):
            yield Fault(
                place,
                f"{name}: a text that is stored with the model cannot come from the environment, "
                "where passwords are: write it out",
            )
        elif choices(field):
            yield Fault(
                place,
                f"{name}: one of {', '.join(choices(field))} cannot come from the environment, where "
                "the page could not judge it: write it out",
            )


def _shown(fault: Fault, written: Mapping[str, Any]) -> str:
    # A message without a rule may contain any of the values.
    variables = variables_in(_at(written, fault.place) if fault.rule else written)
    if not variables:
        return str(fault)
    named = ", ".join(sorted(variables))
    if fault.rule:
        return (
            f"{': '.join(fault.place)}: {fault.rule}; that is not what was found in the environment "
            f"variable {named} (not shown)"
        )
    return (
        f"not right with what the environment has as {named}, which is not shown: write the value out "
        "to see why"
    )


def _without_effect(
    name: str, entry: Mapping[str, Any], selected: Collection[str] | None
) -> Iterator[str]:
    if selected is not None and name not in selected:
        yield (
            f"config is given for {name}, which is not selected: it has no effect, and what is "
            f"stored of {name} is used as it is. Add it to --select to apply the config"
        )
    for field in (entry.get("config") or {}) if name in REMOVED else ():
        yield (
            f"ops: {name}: config: {field} is no setting any more: it is always "
            f"{REMOVED[name][field]}. Take it out"
        )


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


def _is_from_environment(value: Any) -> bool:
    """Whether this is Dagster's way of naming an environment variable: ``{env: NAME}``."""
    return isinstance(value, Mapping) and set(value) == {"env"} and isinstance(value["env"], str)


def _resolved(settings: type[Settings], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve Dagster's way of naming an environment variable, also in groups of fields."""
    resolved = {}
    for name, value in fields.items():
        field = settings.model_fields.get(name)
        group = group_of(field)
        if _is_from_environment(value):
            kind = None if field is None else field.annotation
            resolved[name] = _parsed(kind, os.environ.get(str(value["env"])))
        elif group is not None and isinstance(value, Mapping):
            resolved[name] = _resolved(group, value)
        else:
            resolved[name] = value
    return resolved


def _parsed(kind: Any, text: str | None) -> Any:
    """Read a text as Dagster does; what is no value of the kind stays text and is refused as such."""
    if text is None:
        return None
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    return int(text) if kind is int and text.lstrip("-").isdecimal() else text
