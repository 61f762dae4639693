"""What a user asks of the label database: whose ratings count, and how many a snapshot needs."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationInfo, field_validator

from webcam_ml.contracts import OneOf, Settings, Why, WrittenOut
from webcam_ml.labels._sources import LABEL_SOURCES, LabelSource

JUDGE_SOURCES = [source.name for source in LABEL_SOURCES.values() if source.hears_judges]
SESSION_SOURCES = [source.name for source in LABEL_SOURCES.values() if source.takes_sessions]


class LabelQuery(Settings):
    """Which ratings make a label."""

    label_source: Annotated[str, OneOf(LABEL_SOURCES)] = Field(
        default="manual_only",
        description="; ".join(
            f"{source.name}: {source.meaning}" for source in LABEL_SOURCES.values()
        ),
    )
    min_rating_count: Annotated[int, Why("a label rests on at least one rating")] = Field(
        default=1,
        ge=1,
        description="Snapshots with fewer ratings drop out. On real data 2 keeps 2 % of them",
    )
    # Sorted and without repetition, because their order means nothing.
    curator_sessions: Annotated[tuple[str, ...], WrittenOut()] = Field(
        default=(),
        strict=False,
        description=f"With {' or '.join(SESSION_SOURCES)}: only ratings of these "
        "user_session_ids count; empty: everybody's",
    )
    judges: Annotated[tuple[str, ...], WrittenOut()] = Field(
        default=(),
        strict=False,
        description=f"With {' or '.join(JUDGE_SOURCES)}: only these language models are heard, by name "
        "(llm_model) or pattern like gemini-*; empty: all. Whether one speaks, manifest_full decides",
    )
    external_images: bool = Field(
        default=False,
        description=f"With {' or '.join(JUDGE_SOURCES)}: whether to train also on pictures of no webcam "
        "(the table external_images), where a judge speaks or the curator labelled them",
    )
    external_weight: Annotated[
        float, Why("a picture of no webcam counts at most like one of a webcam")
    ] = Field(
        default=0.25,
        gt=0,
        le=1,
        description="With external_images: what their labels weigh where the same label of a webcam's "
        "picture weighs 1",
    )

    @field_validator("curator_sessions")
    @classmethod
    def _sessions_that_count(
        cls, sessions: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if any(not session.strip() for session in sessions):
            raise ValueError(
                "curator_sessions contains a blank session id; remove it, or leave the list empty "
                "to count everybody's ratings"
            )
        source = LABEL_SOURCES.get(info.data.get("label_source", ""))
        if sessions and source is not None and not source.takes_sessions:
            many = "that session" if len(sessions) == 1 else f"those {len(sessions)} sessions"
            raise ValueError(
                f"curator_sessions is given together with label_source {source.name}, which counts "
                f"everybody's ratings. Choose label_source {' or '.join(SESSION_SOURCES)} to count "
                f"only {many}, or leave curator_sessions empty"
            )
        return tuple(sorted(set(sessions)))

    @field_validator("judges")
    @classmethod
    def _judges_that_are_heard(
        cls, judges: tuple[str, ...], info: ValidationInfo
    ) -> tuple[str, ...]:
        if any(not judge.strip() for judge in judges):
            raise ValueError(
                "judges contains a blank name; remove it, or leave the list empty to hear all that "
                "qualify"
            )
        source = LABEL_SOURCES.get(info.data.get("label_source", ""))
        if judges and source is not None and not source.hears_judges:
            raise ValueError(
                f"judges is given together with label_source {source.name}, which hears people alone. "
                f"Choose label_source {' or '.join(JUDGE_SOURCES)}, or leave judges empty"
            )
        return tuple(sorted(set(judges)))

    @field_validator("external_images")
    @classmethod
    def _pictures_that_are_heard(cls, external_images: bool, info: ValidationInfo) -> bool:
        source = LABEL_SOURCES.get(info.data.get("label_source", ""))
        if external_images and source is not None and not source.hears_judges:
            raise ValueError(
                f"external_images is given together with label_source {source.name}, which knows "
                f"snapshots of webcams alone. Choose label_source {' or '.join(JUDGE_SOURCES)}, or leave "
                "external_images out"
            )
        return external_images

    @field_validator("external_weight")
    @classmethod
    def _weight_of_something(cls, external_weight: float, info: ValidationInfo) -> float:
        default = cls.model_fields["external_weight"].default
        if not info.data.get("external_images", True) and external_weight != default:
            raise ValueError(
                f"external_weight is {external_weight:g}, and has an effect only with external_images: "
                "true. Set that, or leave external_weight out"
            )
        return external_weight

    def to_dict(self) -> dict[str, Any]:
        """Give plain values for JSON, by which stored documents name the query.

        What has no effect is left out: a source that hears people alone has no `judges`.
        """
        unused = set() if self.hears_judges else {"judges", "external_images"}
        if not self.external_images:
            unused.add("external_weight")
        return self.model_dump(mode="json", exclude=unused)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Take the query out of a document, which may hold more beside it.

        What came later and is not in an older document has its default. Nothing is judged again: a
        store outlives a label source that was in use once.
        """
        found = {name: values[name] for name in cls.model_fields if name in values}
        return cls.model_construct().model_copy(
            update={name: tuple(one) if type(one) is list else one for name, one in found.items()}
        )

    @property
    def source(self) -> LabelSource:
        """What `label_source` names."""
        return LABEL_SOURCES[self.label_source]

    @property
    def hears_judges(self) -> bool:
        """Whether judges that are not people are read, too; not so for a source of another version."""
        source = LABEL_SOURCES.get(self.label_source)
        return source is not None and source.hears_judges

    @property
    def takes_cached(self) -> bool:
        """Whether labels are the application's cached averages instead of rating rows."""
        return self.source.prefers_cached and not self.curator_sessions
