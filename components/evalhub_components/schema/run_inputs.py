"""What a person types into the form of a compiled pipeline, beside the model: texts, checked before anything is run."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from evalhub_components.errors import InvalidDocument, Problem
from evalhub_components.schema.document import Digest, Document, Pairs
from evalhub_components.schema.exports import OCICoordinates

TEXTS = {
    "experiment_name": "MLflow experiment (default: the collection's id)",
    "experiment_tags": "tags of the MLflow run, one key=value a line",
    "scheduled_time": "when a recurring run was due",
    "oci_host": "registry that gets the evidence (default: none)",
    "oci_repository": "repository in that registry",
    "oci_tag": "additional tag of the evidence, which moves with every run",
    "oci_annotations": "annotations of the evidence, one key=value a line",
    "oci_subject": "the model's image in the same repository: a tag, a digest or a reference",
    "model_digest": "digest of the model's image",
}
"""The inputs by name, with what their options say; the empty text means that nothing was given."""


class RunInputs(Document):
    """The inputs as values.

    Attributes:
        coordinates: None where the evidence goes to no registry.
    """

    experiment_name: str | None = None
    experiment_tags: Pairs = Field(default_factory=dict)
    scheduled_time: str | None = None
    coordinates: OCICoordinates | None = None
    model_digest: Digest | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a step's command line the inputs as options."""
    group = parser.add_argument_group("inputs of a pipeline")
    for name, text in TEXTS.items():
        group.add_argument(f"--{name.replace('_', '-')}", default="", help=text)


def read(options: argparse.Namespace) -> RunInputs:
    """Return the inputs that a command line gives.

    Raises:
        InvalidDocument: with every problem; the places are the names in the form.
    """
    return parse({name: getattr(options, name) for name in TEXTS})


def parse(texts: Mapping[str, str]) -> RunInputs:
    """Return the inputs of a form, by name.

    Raises:
        InvalidDocument: with every problem.
    """
    problems: list[Problem] = []
    given: dict[str, Any] = {name: texts[name].strip() for name in TEXTS if texts.get(name, "").strip()}
    # a server may leave the macro of a pinned version as it is, and then nobody says (kubeflow/pipelines#12494)
    if given.get("scheduled_time") == "[[ScheduledTime]]":
        del given["scheduled_time"]
    for name in ("experiment_tags", "oci_annotations"):
        if name in given:
            given[name] = _pairs(name, given[name], problems)
    oci = {name: given.pop(name) for name in list(given) if name.startswith("oci_")}
    if oci:
        if "oci_annotations" in oci:
            oci["annotations"] = oci.pop("oci_annotations")
        given["coordinates"] = oci
    try:
        found = RunInputs.model_validate(given)
    except ValidationError as error:
        problems += [_problem(item["loc"], item["msg"]) for item in error.errors(include_url=False)]
        raise InvalidDocument(sorted(problems)) from None
    if problems:
        raise InvalidDocument(problems)
    return found


def _pairs(name: str, text: str, problems: list[Problem]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        key, equals, value = (part.strip() for part in line.partition("="))
        if not (line.strip() and equals and key):
            if line.strip():
                problems.append(Problem(name, f"line {number}: must be key=value"))
        elif key in found:
            problems.append(Problem(name, f"line {number}: must name every key once, got {key} again"))
        else:
            found[key] = value
    return found


def _problem(location: tuple[int | str, ...], message: str) -> Problem:
    parts = [str(part) for part in location if part != "coordinates"]
    name = "oci_annotations" if parts[:1] == ["annotations"] else ".".join(parts)
    words = {"Field required": "is missing (a registry needs a host and a repository)"}
    return Problem(name, words.get(message, message.removeprefix("Value error, ")))
