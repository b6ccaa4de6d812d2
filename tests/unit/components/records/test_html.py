from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.errors import MissingExtra
from evalhub_components.records import html, report, wording
from evalhub_components.run_directory import LoadedRun, load
from evalhub_components.schema.plan import ResolvedScore, ResolvedThreshold
from evalhub_components.schema.run import Publication

WriteRun = Callable[..., Path]

HOSTILE = (
    "<script>alert(1)</script>'\"><img src=x onerror=alert(2)></style></pre>{{7*7}}{% raw %} javascript:alert(3) "
    "https://user:hunter2@evil.example/ \u202egpj.exe\u2066\u200b\x1b[31m\x00\r\n]]>--> &lt;b&gt;"
)
VOID = {"meta", "wbr", "use", "line", "path", "circle", "rect"}


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes and texts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[list[str], str]] = []
        self._open: list[str] = []
        self.feed(source)
        assert self._open == [], "every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((list(self._open), data))

    def text(self, tag: str = "body") -> str:
        return "".join(data for path, data in self.texts if tag in path)

    def all(self, attribute: str) -> set[str]:
        return {attributes[attribute] for _, attributes in self.elements if attribute in attributes}

    def rows(self) -> list[str]:
        """Return each line of the tables as its words."""
        found = re.findall(r"<tr role=\"row\" class.*?</tr>", self.source, re.DOTALL)
        return [" ".join(Page(row).words()) for row in found]

    def words(self) -> list[str]:
        return " ".join(data for _, data in self.texts).split()


def rendered(path: Path, publication: Publication | None = None) -> str:
    run = load(path)
    return html.render(run, run.judge(), publication)


def test_the_heading_is_the_verdict_as_a_sentence(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", results={n: {"metrics": {"acc": {"value": 0.1}}} for n in range(3)})
    run = load(path)
    source = html.render(run, run.judge())
    assert Page(source).text("h1") == wording.sentence(run, run.judge())
    assert Page(source).text("title") == "Failed: tiny on quick 1.2"


def test_what_to_do_comes_before_the_numbers(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", tasks={1: {"required": True}}, results={1: {"metrics": {"acc": {"value": 0.4}}}})
    source = rendered(path, Publication())
    first = "Start with gsm8k: it is required, and misses its threshold (0.4 &lt; 0.5)."
    assert source.index("</h1>") < source.index(first) < source.index("Overall score")
    assert f'<code class="command">evalhub-kfp compare RUN {path}</code>' in source


def test_a_pass_says_the_same_on_the_page_and_in_markdown(tmp_path: Path, write_run: WriteRun) -> None:
    run = load(write_run(tmp_path / "run"))
    where = Publication(
        evidence_digest="sha256:e", evidence_address="registry.example/evals@sha256:e", evidence_pushed=True
    )
    page, markdown = html.render(run, run.judge(), where), report.render(run, run.judge(), where)
    for said in ("Nothing blocks this model.", "Keep the evidence&#39;s digest: with it anybody can verify"):
        assert page.index(said) < page.index("Overall score")
        assert f"1. {said.replace('&#39;', chr(39))}" in markdown
    command = "evalhub-kfp verify registry.example/evals@sha256:e"
    assert page.index(command) < page.index("Overall score")
    assert markdown.index(command) < markdown.index("overall score")


def test_how_the_model_did_overall_is_said_beside_a_required_benchmark_that_decides(
    tmp_path: Path, write_run: WriteRun
) -> None:
    results = {n: {"metrics": {"acc": {"value": 0.1}}} for n in range(3)}
    source = rendered(write_run(tmp_path / "run", tasks={1: {"required": True}}, results=results))
    assert Page(source).text("h1").endswith("gsm8k is required and misses its threshold: 0.1 < 0.5.")
    assert source.index("Overall: score 0.1 &lt; 0.6.") < source.index("What to do next")


def test_one_benchmark_has_one_name(tmp_path: Path, write_run: WriteRun) -> None:
    task = {"benchmark_id": "grade_school_math", "required": True}
    path = write_run(tmp_path / "run", tasks={1: task}, results={1: {"metrics": {"acc": {"value": 0.4}}}})
    for text in (Page(rendered(path)).text(), report.render(load(path), load(path).judge())):
        assert "grade_school_math is required" in text.replace("\\", "")
        assert not re.search("001-gsm8k(?!/)", text)


def test_every_benchmark_has_a_line_with_its_reason_those_that_explain_the_verdict_first(
    tmp_path: Path, write_run: WriteRun
) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc", "gsm8k", "mmlu", "toxicity"],
        tasks={
            1: {"required": True, "weight": 2.0},
            3: {"weight": 0, "primary_score": ResolvedScore(metric="acc", lower_is_better=True)},
        },
        results={1: {"metrics": {"acc": {"value": 0.4}}}, 2: {"status": "failed", "reason": "out of memory"}},
    )
    provider = "lm_evaluation_harness"
    assert Page(rendered(path)).rows() == [
        f"mmlu {provider} error no score: failed: out of memory - acc 0.5 1 4 of 4",
        f"gsm8k required {provider} fail 0.4 < 0.5 0.4 acc 0.5 2 4 of 4",
        f"toxicity advisory {provider} fail advisory: 0.75 > 0.5 0.75 acc, lower is better 0.5 0 4 of 4",
        f"arc {provider} pass 0.75 >= 0.5 0.75 acc 0.5 1 4 of 4",
    ]


def test_the_plot_shows_score_bounds_and_threshold_and_says_them(tmp_path: Path, write_run: WriteRun) -> None:
    score = ResolvedScore(metric="acc", lower_is_better=True, range=(0, 10))
    path = write_run(
        tmp_path / "run",
        benchmarks=["latency"],
        tasks={0: {"primary_score": score, "threshold": ResolvedThreshold(value=5, source="benchmark")}},
        results={0: {"metrics": {"acc": {"value": 2.5, "stderr": 0.5}}, "num_evaluated": 4}},
    )
    (path / "benchmarks" / "000-latency" / "samples.jsonl").unlink()
    source = rendered(path)
    label = "score 0.75 of 1, bounds 0.6678 and 0.8322, threshold 0.5"
    (row,) = re.findall(rf'<svg class="plot" role="img" aria-label="{label}">.*?</svg>', source, re.DOTALL)
    assert 'href="#p-pass" x="73.5%"' in row
    assert 'href="#needed" x="50%"' in row
    assert 'x1="65.769%" x2="81.231%"' in row


def test_a_benchmark_without_a_score_has_no_point(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", benchmarks=["arc"], results={0: {"status": "failed", "reason": "x"}})
    source = rendered(path)
    assert 'aria-label="no score, threshold 0.5"' in source
    assert 'class="point error"' not in source


def test_details_name_what_somebody_needs_to_do_it_again(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(
        tmp_path / "run",
        benchmarks=["arc"],
        tasks={0: {"parameters": {"temperature": 0.5}}},
        results={
            0: {"usage": {"requests": 4, "seconds": 2.0}, "metrics": {"acc": {"value": 0.75}, "f1": {"value": 1}}}
        },
    )
    environment = path / "benchmarks" / "000-arc" / "environment.json"
    known = json.loads(environment.read_text())
    environment.write_text(json.dumps({**known, "image": {"reference": "registry.example/x:1", "digest": None}}))
    text = " ".join(Page(rendered(path)).words())
    for fact in (
        "image registry.example/x:1 files",
        '{"temperature": 0.5}',
        "all examples, data set of 4, 0 few-shot examples, seed 1234, time-out 10 min 0 s",
        f"data.jsonl sha256:{'ab' * 32}",
        "benchmarks/000-arc/",
        "requests 4",
        "waiting per request 0.5 s",
        "acc primary 0.75 - f1 1 -",
        "Python 3.12.1, Debian, 2 x x",
        "1, 100 % of the overall score",
        load(path).record.plan_digest,
    ):
        assert fact in text


def test_the_log_ends_where_it_explains_and_only_there(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", benchmarks=["arc", "gsm8k"], results={0: {"status": "failed", "reason": "x"}})
    lines = "".join(f"line {n}\n" for n in range(100_000))
    for slug in ("000-arc", "001-gsm8k"):
        (path / "benchmarks" / slug / "log.txt").write_text(f"{lines}{slug} is lost\n")
    source = rendered(path)
    assert Page(source).text("pre").splitlines() == [*(f"line {n}" for n in range(99_981, 100_000)), "000-arc is lost"]
    assert "001-gsm8k is lost" not in source


def test_a_log_that_leads_elsewhere_is_not_followed(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", benchmarks=["arc"], results={0: {"status": "failed", "reason": "x"}})
    (tmp_path / "secret").write_text("not for everybody")
    log = path / "benchmarks" / "000-arc" / "log.txt"
    log.unlink()
    os.symlink(tmp_path / "secret", log)
    assert "not for everybody" not in rendered(path)


def test_records_and_their_commands_are_named(tmp_path: Path, write_run: WriteRun) -> None:
    digest = "sha256:" + "e" * 64
    publication = Publication(
        evidence_digest=digest,
        evidence_reference=f"registry.example/evals:run-r@{digest}",
        evidence_address=f"registry.example/evals@{digest}",
        evidence_pushed=True,
        evidence_key_id="sha256:" + "d" * 64,
        mlflow_tracking_uri=f"sqlite:///{tmp_path}/mlflow.db",
        mlflow_experiment_id="4",
        mlflow_run_id="f00",
        warnings=["the moon is full"],
    )
    path = write_run(tmp_path / "run")
    source = rendered(path, publication)
    for command in (
        f"evalhub-kfp verify registry.example/evals@{digest} --key public.key",
        f"evalhub-kfp pull registry.example/evals@{digest} evidence",
        f"evalhub-kfp judge {path}",
        f"mlflow ui --backend-store-uri sqlite:///{tmp_path}/mlflow.db",
    ):
        assert f'<code class="command">{command}</code>' in source
    assert {f"registry.example/evals:run-r@{digest}", "the moon is full"} <= set(Page(source).text().splitlines()) | {
        text for _, text in Page(source).texts
    }


@pytest.mark.parametrize("engine", ["process", "kfp"])
def test_the_page_names_a_folder_only_to_who_has_it(tmp_path: Path, write_run: WriteRun, engine: str) -> None:
    path = write_run(tmp_path / "run", record={"engine": engine})
    layout = str(path / "evidence")
    digest = "sha256:" + "e" * 64
    publication = Publication(
        evidence_digest=digest,
        evidence_reference=layout if engine == "process" else None,
        evidence_address=f"{layout}@{digest}" if engine == "process" else None,
    )
    assert (str(tmp_path) in rendered(path, publication)) == (engine == "process")
    # what goes into the evidence is read anywhere
    assert str(tmp_path) not in rendered(path)
    assert "sha256sum -c SHA256SUMS" in rendered(path)


def hostile(path: Path, write_run: WriteRun, times: int = 1, benchmarks: int = 3) -> LoadedRun:
    text = HOSTILE * times
    task = {
        "slug": "000-" + HOSTILE,
        "provider_id": text,
        "parameters": {text: text},
        "primary_score": ResolvedScore(metric=text),
    }
    result = {"metrics": {text: {"value": 0.3}, **{f"{n}{text}": {"value": text} for n in range(40)}}}
    failed = {"status": "failed", "reason": text, "metrics": {}}
    given = {n: failed if n % 3 else result for n in range(benchmarks)}
    record = {"name": text, "model_name": text, "model_url": f"http://user:hunter2@host/{text}", "tags": [text]}
    written = write_run(
        path,
        benchmarks=[text] * benchmarks,
        tasks={n: {**task, "slug": f"{n:03d}"} for n in range(benchmarks)},
        results=given,
        record={**record, "declared_environment": {text: text}},
    )
    for folder in (written / "benchmarks").iterdir():
        (folder / "log.txt").write_text("\n".join([text] * 30), errors="replace")
    return load(written)


def published(text: str) -> Publication:
    keys = ("evidence_reference", "evidence_address", "evidence_key_id", "mlflow_experiment_id", "mlflow_run_id")
    fields: dict[str, Any] = dict.fromkeys((*keys, "evidence_digest"), text)
    uri = f"sqlite://user:hunter2@{text}"
    return Publication(**fields, evidence_pushed=True, mlflow_tracking_uri=uri, warnings=[text] * 40)


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path, write_run: WriteRun) -> None:
    run = hostile(tmp_path / "run", write_run)
    plain = Page(rendered(write_run(tmp_path / "plain", results={1: {"status": "failed", "reason": "x"}})))
    source = html.render(run, run.judge(), published(HOSTILE))
    found = Page(source)
    assert {tag for tag, _ in found.elements} <= {tag for tag, _ in plain.elements} | {"ul"}
    names = {name for _, attributes in found.elements for name in attributes}
    assert names <= {name for _, attributes in plain.elements for name in attributes} | {"x1", "x2", "y1", "y2"}
    assert all(link.startswith("#") for link in found.all("href"))
    assert "<script>alert(1)</script>'\"><img" in found.text()
    assert "{{7*7}}" in found.text()
    assert "hunter2" not in source
    assert "https://***@evil.example/" in found.text()
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069]", source)


def test_the_page_loads_and_runs_nothing(tmp_path: Path, write_run: WriteRun) -> None:
    source = rendered(write_run(tmp_path / "run"))
    found = Page(source)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & {tag for tag, _ in found.elements}
    assert not [name for _, attributes in found.elements for name in attributes if name in ("src", "style", "srcset")]
    assert "url(" not in source
    assert "@import" not in source
    style = found.text("style")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    (policy,) = (value for value in found.all("content") if "default-src" in value)
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_every_link_leads_somewhere_on_the_page(tmp_path: Path, write_run: WriteRun) -> None:
    found = Page(rendered(write_run(tmp_path / "run", results={1: {"status": "failed", "reason": "x"}})))
    anchors = [attributes["id"] for _, attributes in found.elements if "id" in attributes]
    assert len(anchors) == len(set(anchors))
    assert {link.removeprefix("#") for link in found.all("href")} <= set(anchors)


@pytest.mark.parametrize("times", [1, 5])
def test_no_amount_of_text_makes_the_page_large(tmp_path: Path, write_run: WriteRun, times: int) -> None:
    run = hostile(tmp_path / "run", write_run, times=times, benchmarks=200)
    source = html.render(run, run.judge(), published(HOSTILE * times))
    assert len(source.encode()) <= html.LIMIT
    assert len(Page(source).rows()) == 200


def test_what_does_not_fit_is_counted(tmp_path: Path, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(html, "LIMIT", 60_000)
    names = [f"benchmark-{n}" for n in range(100)]
    source = rendered(write_run(tmp_path / "run", benchmarks=names, results={77: {"metrics": {"acc": {"value": 0.1}}}}))
    assert len(source.encode()) <= 60_000
    rows = Page(source).rows()
    assert rows[0].startswith("benchmark-77 ")
    assert f"{100 - len(rows)} more are in verdict.json: {100 - len(rows)} pass." in Page(source).text()


def test_metrics_that_do_not_fit_are_counted(tmp_path: Path, write_run: WriteRun) -> None:
    metrics = {f"m{n}": {"value": n} for n in range(50)}
    path = write_run(tmp_path / "run", benchmarks=["arc"], results={0: {"metrics": {**metrics, "acc": {"value": 1}}}})
    source = rendered(path)
    assert source.index("acc <span") < source.index(">m0<")
    assert "and 27 more metrics in results.json" in source


@pytest.mark.parametrize("value", [True, None, "n/a", 2**53, 1e300, -0.0], ids=str)
def test_a_metric_of_any_kind_is_shown(tmp_path: Path, write_run: WriteRun, value: object) -> None:
    metrics = {"acc": {"value": 0.5}, "odd": {"value": value}}
    shown = {True: "true", None: "null", "n/a": '"n/a"', 2**53: "9.0071993e+15", 1e300: "1e+300", -0.0: "-0"}[value]
    path = write_run(tmp_path / "run", benchmarks=["arc"], results={0: {"metrics": metrics}})
    assert f"odd {shown} -" in " ".join(Page(rendered(path)).words())


def test_equal_runs_give_equal_bytes(tmp_path: Path, write_run: WriteRun) -> None:
    first, second = write_run(tmp_path / "one"), write_run(tmp_path / "two")
    assert rendered(first) == rendered(second)


def test_benchmarks_that_left_nothing_are_shown(tmp_path: Path, write_run: WriteRun) -> None:
    path = write_run(tmp_path / "run", benchmarks=["arc"], results={0: None})
    for file in sorted((path / "benchmarks").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    assert "no score: there are no results" in Page(rendered(path)).text()


def test_without_jinja2_the_cure_is_named(tmp_path: Path, write_run: WriteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_run(tmp_path / "run")
    html._template.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match=r"pip install 'evalhub-kfp\[report\]'"):
        rendered(path)
