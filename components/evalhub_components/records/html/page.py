"""What `report.html` shows, as plain text: the template decides how it looks, and nothing else."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from evalhub_components.records import usage, wording
from evalhub_components.records.html import plot
from evalhub_components.records.html.rows import Row, row
from evalhub_components.records.html.texts import DIGEST, Fact, Room, Step, command, document, listed, text
from evalhub_components.records.next_steps import next_steps
from evalhub_components.run_directory import LoadedRun
from evalhub_components.schema.run import Publication
from evalhub_components.schema.verdict import BenchmarkTest, Decision, Verdict

_MEANINGS: dict[Decision, str] = {
    "pass": "The model reaches what this collection asks of it.",
    "fail": "The model does not reach what this collection asks of it.",
    "inconclusive": "The results are too uncertain to say whether the model reaches what this collection asks of it.",
    "error": "A benchmark that counts has no score, so there is no verdict on the model.",
}
_SHORT, _REASON = 48, 140  # characters of a name and of a reason on the first screen
_ADVICE = 1500  # more than a step has
_LONG = 4  # times the width of an ordinary text


@dataclass(frozen=True)
class Page:
    """The page, top to bottom."""

    title: str
    eyebrow: list[str]
    decision: Decision
    word: str
    because: str
    meaning: str
    again: str
    reasons: list[str]
    limited: str
    steps: list[Step]
    score: str
    certainty: str
    line: plot.Line
    summary: list[Fact]
    rows: list[Row]
    rest: str
    confidence: str
    provenance: list[Fact]
    records: list[Fact]
    commands: list[Step]
    notes: list[str]
    warnings: list[str]
    version: str


def build(run: LoadedRun, verdict: Verdict, publication: Publication | None, room: Room) -> Page:
    """Return what the page shows of a run when there is so much room."""
    local = wording.is_local(run, publication)
    record, width = run.record, room.width
    short = _short(verdict)
    named = record.model_copy(update={"model_name": text(record.model_name, _SHORT)})
    word, because = wording.sentence(dataclasses.replace(run, record=named), short).split(": ", 1)
    score, *certainty = re.split(r"[,;] ", wording.overall(verdict), maxsplit=1)
    others = short.reasons[1:]
    overall = others.pop() if others and verdict.score is not None else ""
    called = wording.names(verdict)
    ordered = sorted(range(len(verdict.benchmarks)), key=lambda index: wording.interest(verdict.benchmarks[index]))
    kept, left_out = ordered[: room.benchmarks], ordered[room.benchmarks :]
    return Page(
        title=f"{word}: {named.model_name} on {short.collection_id} {short.collection_version}",
        eyebrow=["Evaluation", text(record.name or record.run_id, _SHORT), text(record.started_at, _SHORT)],
        decision=verdict.verdict,
        word=word,
        because=because,
        # the deciding reason may be another one, and how the model did overall is worth the first screen
        meaning=_MEANINGS[verdict.verdict] + (f" Overall: {overall}." if overall else ""),
        again=wording.other_criteria(publication),
        reasons=listed(others, room._replace(listed=5), 2 * _REASON),
        limited=wording.LIMITED if verdict.limited else "",
        steps=[
            Step(text(step.text, _ADVICE), command(step.command) if step.command else "")
            for step in next_steps(run, short, local=local, publication=publication)
        ],
        score=score,
        certainty="".join(certainty),
        line=plot.overall(verdict),
        summary=_summary(run, verdict),
        rows=[row(run, verdict, index, called[verdict.benchmarks[index].benchmark_index], room) for index in kept],
        rest=_rest([verdict.benchmarks[index] for index in left_out]),
        confidence=wording.confidence(verdict),
        provenance=_provenance(run, verdict, room),
        records=_records(run, publication, local) if publication else [],
        commands=_commands(run, publication, local),
        notes=listed(run.notes, room, width),
        warnings=listed(publication.warnings if publication else (), room, 2 * width),
        version=text(record.package_version, DIGEST),
    )


def _short(verdict: Verdict) -> Verdict:
    """Return `verdict` with names and reasons so short that no name pushes what matters off the first screen."""
    tests = [test.model_copy(update={"benchmark_id": text(test.benchmark_id, _SHORT)}) for test in verdict.benchmarks]
    reasons = wording.reasons(verdict.model_copy(update={"benchmarks": tests}))
    return verdict.model_copy(
        update={
            "collection_id": text(verdict.collection_id, _SHORT),
            "collection_version": text(verdict.collection_version, _SHORT // 2),
            "reasons": [text(reason, _REASON) for reason in reasons],
            "benchmarks": [test.model_copy(update={"reason": text(test.reason, _REASON)}) for test in tests],
        }
    )


def _counted(tests: Sequence[BenchmarkTest]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(map(wording.outcome, tests)).items()))


def _rest(tests: Sequence[BenchmarkTest]) -> str:
    return f"{len(tests)} more are in verdict.json: {_counted(tests)}." if tests else ""


def _summary(run: LoadedRun, verdict: Verdict) -> list[Fact]:
    evaluated = [test.num_evaluated for test in verdict.benchmarks if test.num_evaluated is not None]
    taken = usage.facts(usage.in_total(run)._replace(requests=None, prompt_tokens=None, completion_tokens=None))
    return [
        Fact("threshold", (wording.overall_threshold(verdict),)),
        Fact("benchmarks", (f"{len(verdict.benchmarks)}: {_counted(verdict.benchmarks)}",)),
        *([Fact("examples", (str(sum(evaluated)),))] if evaluated else []),
        Fact("job", (verdict.state.replace("_", " "),)),
        *(Fact(name, (value,)) for name, value in taken),
    ]


def _provenance(run: LoadedRun, verdict: Verdict, room: Room) -> list[Fact]:
    record, fingerprint, width = run.record, run.fingerprint, room.width
    found = [
        Fact("model", (text(record.model_name, width),)),
        Fact("address", (text(record.model_url, width),), code=True),
    ]
    if record.model_digest:
        found.append(Fact("model digest", (text(record.model_digest, DIGEST),), code=True))
    if fingerprint is None:
        found.append(Fact("fingerprint", ("none",)))
    else:
        digests = (f"identity {fingerprint.identity}", f"answers {fingerprint.answers or 'none'}")
        found.append(Fact("fingerprint", tuple(text(each, DIGEST + 10) for each in digests), code=True))
        if fingerprint.missing:
            found.append(Fact("the server did not give", (text(", ".join(fingerprint.missing), width),)))
    if record.judge:
        judge = (record.judge.name, record.judge.url, f"fingerprint {record.judge.fingerprint or 'none'}")
        found.append(Fact("judge of answers", tuple(text(each, width) for each in judge), code=True))
    if record.declared_environment:
        declared = document(record.declared_environment, 2 * width)
        found.append(Fact("declared of the server, not checked", (declared,), code=True))
    collection = f"{verdict.collection_id} version {verdict.collection_version}"
    taken = [f"{name} {value}" for name, value in usage.facts(usage.in_total(run)) if name != "wall time"]
    machines = [text(machine, 2 * width) for machine in wording.environments(run)]
    found += [
        Fact("collection", (text(collection, 2 * width),)),
        Fact("plan", (text(verdict.plan_digest, DIGEST),), code=True),
        Fact("run", (text(record.run_id, 100),), code=True),
        Fact("job", (text(record.job_id, DIGEST),), code=True),
        Fact("time", (text(f"{record.started_at} to {record.completed_at or 'an end that is not known'}", width),)),
        *([Fact("tags", (text(", ".join(record.tags), width),))] if record.tags else []),
        *([Fact("environment", tuple(machines))] if machines else []),
        *([Fact("usage reported", (", ".join(taken),))] if taken else []),
        Fact("software", (text(f"evalhub-kfp {record.package_version}, engine {record.engine}", width),)),
    ]
    return found


def _records(run: LoadedRun, publication: Publication, local: bool) -> list[Fact]:
    """Return where evidence and MLflow run are."""
    found = []
    if publication.evidence_digest:
        key = publication.evidence_key_id
        found.append(Fact("evidence", (text(publication.evidence_digest, DIGEST),), code=True))
        found.append(Fact("signature", (text(f"key {key}", DIGEST + 10) if key else "not signed",), code=bool(key)))
        if publication.evidence_pushed:
            place = Fact("registry", (text(publication.evidence_reference or "", 1000),), code=True)
        elif local:
            place = Fact("not pushed; OCI image layout", (text(publication.evidence_reference or "", 1000),), code=True)
        else:
            place = Fact("not pushed", ("the artifact `evidence` of this task is an OCI image layout",))
        found.append(place)
    if publication.mlflow_run_id:
        mlflow = (
            f"run {publication.mlflow_run_id}",
            f"experiment {publication.mlflow_experiment_id or '-'}",
            f"at {publication.mlflow_tracking_uri or '-'}",
        )
        found.append(Fact("MLflow", tuple(text(part, 500) for part in mlflow), code=True))
    return found


def _commands(run: LoadedRun, publication: Publication | None, local: bool) -> list[Step]:
    """Return what to do with the records, each with its command."""
    if publication is None:
        return [Step("See that every file is as it was", "sha256sum -c SHA256SUMS")]
    found: list[tuple[str, tuple[str, ...]]] = []
    if verify := wording.verify_command(publication, local=local):
        found.append(("Verify the evidence: every file, the signature, the verdict computed again", verify))
    if publication.evidence_pushed:
        found.append(("Read the evidence", ("evalhub-kfp", "pull", publication.evidence_address or "", "evidence")))
    if local:
        found.append(("Judge the run again", ("evalhub-kfp", "judge", str(run.path))))
    uri = publication.mlflow_tracking_uri or ""
    if publication.mlflow_run_id and uri.startswith("sqlite:"):
        found.append(("Look at it in MLflow", ("mlflow", "ui", "--backend-store-uri", uri)))
    return [Step(what, command(words)) for what, words in found]
