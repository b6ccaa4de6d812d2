"""Secrets: nowhere in what a benchmark leaves, nowhere in what it says, nothing else changed."""

from __future__ import annotations

import base64
import gzip
import json
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from evalhub_components.redaction import Redaction, shortened

KEY = 'sk-"1+&\\KEY' + "7" * 20
TOKEN = "hf_plainTOKEN0123456789"
CHUNK = 1 << 20


def forms(secret: str) -> list[bytes]:
    """Return what a reader could get the secret back from."""
    raw = secret.encode()
    found = [
        raw,
        repr(secret)[1:-1].encode(),
        json.dumps(secret)[1:-1].encode(),
        urllib.parse.quote(secret, safe="").encode(),
    ]
    for offset in range(3):
        # the groups of base64 that hold nothing but the secret
        whole = raw[offset : offset + (len(raw) - offset) // 3 * 3]
        found += [base64.b64encode(whole), base64.urlsafe_b64encode(whole)]
    return found


@pytest.fixture(scope="module")
def leaked(module_step: Any, a_task: Any) -> Any:
    # what a Kubernetes secret holds often ends in a new line
    module_step.adapter("leaky").secret(api_key=KEY + "\n", hf_token=TOKEN)
    tasks = [a_task(0), a_task(1, do="fail"), a_task(2, do="late"), a_task(3, do="fail_at_length")]
    return module_step.run(tasks)


def test_no_file_holds_a_secret_in_any_form(leaked: Any) -> None:
    files = [path for path in leaked.folder.rglob("*") if path.is_file()]
    assert len(files) > 40
    for path in files:
        content = path.read_bytes()
        for secret in (KEY, TOKEN):
            for form in forms(secret):
                assert form not in content, path


def test_no_name_holds_a_secret(leaked: Any) -> None:
    for path in leaked.folder.rglob("*"):
        assert KEY not in path.name
    raw = leaked.entry(0) / "raw"
    assert (raw / "name-***.txt").read_text() == "a name can hold it"
    assert (raw / "folder-***" / "again-***" / "inner.txt").read_text() == "***"


def test_the_step_itself_says_no_secret(leaked: Any) -> None:
    for secret in (KEY, TOKEN):
        for form in forms(secret):
            assert form not in leaked.stdout.encode()
            assert form not in leaked.stderr.encode()


def test_the_rest_of_a_redacted_file_stays(leaked: Any) -> None:
    raw = leaked.entry(0) / "raw"
    assert (raw / "plain.txt").read_text() == "*** and ***"
    assert json.loads((raw / "escaped.json").read_text()) == {"key": "***", "token": "***"}
    assert (raw / "url.txt").read_text() == "https://host/?key=***"
    assert (raw / "large.bin").read_bytes() == b"\0" * (CHUNK - 5) + b"***" + b"\0" * CHUNK + b"***"
    log = (leaked.entry(0) / "log.txt").read_text()
    assert "Authorization: Bearer ***" in log
    assert "token ***" in log


def test_files_without_a_secret_are_not_touched(leaked: Any) -> None:
    raw = leaked.entry(0) / "raw"
    assert (raw / "harmless.txt").read_text() == "nothing here"
    assert gzip.decompress((raw / "archive.gz").read_bytes()) == b"nothing here either"
    for name in ("harmless.txt", "archive.gz"):
        assert (raw / name).stat().st_mtime == 1_000_000_000


def test_documents_name_what_was_replaced_and_count_it(leaked: Any) -> None:
    results = leaked.results(0)
    assert results["status"] == "completed"
    assert results["metrics"]["metric ***"]["value"] == "value ***"
    assert results["redactions"] > 20
    environment = json.loads((leaked.entry(0) / "environment.json").read_bytes())
    assert environment["headers"] == {"Authorization": "Bearer ***"}
    sample = json.loads((leaked.entry(0) / "samples.jsonl").read_bytes())
    assert sample == {"id": "***", "score": 1, "details": {"***": ["***"]}}


def test_an_exception_that_quotes_the_key_is_redacted(leaked: Any) -> None:
    assert leaked.reason(1) == "RuntimeError: 401 for Bearer ***"
    assert leaked.results(1)["redactions"] > 0


def test_a_long_message_is_redacted_before_it_is_cut(leaked: Any) -> None:
    assert leaked.reason(3).endswith("x***")


def test_what_is_written_after_the_results_were_handed_in_is_redacted(leaked: Any) -> None:
    assert "written late: ***" in (leaked.entry(2) / "log.txt").read_text()
    assert (leaked.entry(2) / "raw" / "late.txt").read_text() == "***"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows processes as files")
def test_other_users_of_the_machine_cannot_see_the_key(step: Any, a_task: Any) -> None:
    outcome = step.adapter("scripted").secret(api_key=TOKEN).run([a_task(0, do="show_process")])
    raw = outcome.entry(0) / "raw"
    assert outcome.results(0)["redactions"] == 0
    assert b"evalhub_components.benchmark" in (raw / "cmdline").read_bytes()
    assert b"EVALHUB_MODEL_SECRET" in (raw / "environ").read_bytes()
    for name in ("cmdline", "environ", "variables"):
        assert TOKEN.encode() not in (raw / name).read_bytes()


@pytest.mark.skipif(sys.platform != "linux", reason="root can be made to respect rights on Linux only")
def test_files_whose_rights_were_taken_away_are_redacted_too(step: Any, a_task: Any) -> None:
    # root gives up its right to read everything (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) with the next program it runs
    step.command = (
        "-c",
        "import ctypes, os, sys\n"
        "for capability in (1, 2):\n"
        "    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'evalhub_components.benchmark', *sys.argv[1:]])",
    )
    outcome = step.adapter("scripted").secret(api_key=TOKEN).run([a_task(0, do="locked_files")])
    raw = outcome.entry(0) / "raw"
    assert outcome.results(0)["reason"] is None
    assert (raw / "file.txt").read_text() == "***"
    assert (raw / "locked" / "inner.txt").read_text() == "***"


@pytest.mark.parametrize("content", ["two\nlines-of-a-key", "kéy-that-no-header-holds"], ids=["lines", "not-ascii"])
def test_a_key_that_cannot_be_sent_is_refused_without_showing_it(step: Any, a_task: Any, content: str) -> None:
    outcome = step.adapter("scripted").end(step.secret(api_key=content).start([a_task(0)]))
    assert outcome.status == 2
    assert "api-key: must be one line of printable ASCII" in outcome.stderr
    assert content not in outcome.stderr
    assert "Traceback" not in outcome.stderr


# ---- the class itself


def test_without_secrets_nothing_is_read_or_changed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("None and null and empty")
    redaction = Redaction([None, "", "short"])
    redaction.tree(tmp_path)
    assert redaction.text("None short") == "None short"
    assert redaction.document({"short": ["short"]}) == {"short": ["short"]}
    assert redaction.count == 0


def test_replacements_are_counted() -> None:
    redaction = Redaction([TOKEN])
    assert redaction.text(f"{TOKEN} {TOKEN}") == "*** ***"
    assert redaction.document({TOKEN: [TOKEN, 1, None]}) == {"***": ["***", 1, None]}
    assert redaction.count == 4


@pytest.mark.parametrize("start", [CHUNK - 1, CHUNK - len(TOKEN) + 1, CHUNK, 2 * CHUNK - 3])
def test_a_secret_across_the_border_of_two_reads_is_found(tmp_path: Path, start: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"a" * start + TOKEN.encode() + b"b" * CHUNK)
    redaction = Redaction([TOKEN])
    redaction.tree(tmp_path)
    assert path.read_bytes() == b"a" * start + b"***" + b"b" * CHUNK
    assert redaction.count == 1


def test_two_names_that_become_one_both_stay(tmp_path: Path) -> None:
    for name in (f"a-{TOKEN}", f"a-{base64.b64encode(TOKEN.encode()).decode()}"):
        (tmp_path / name).write_text("content")
    Redaction([TOKEN]).tree(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    assert not any(TOKEN in path.name for path in tmp_path.iterdir())


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text(TOKEN)
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    Redaction([TOKEN]).tree(inside)
    assert outside.read_text() == TOKEN


def test_a_python_traceback_of_a_secret_holder_does_not_show_it() -> None:
    program = (
        "from evalhub_components.adapter import ModelCredentials\n"
        f"print(ModelCredentials(api_key={TOKEN!r}, hf_token={TOKEN!r}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert TOKEN not in done.stdout


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it\n is", "as it is"),
        ("ten chars.", "ten chars."),
        ("refused Bearer eyJhbGciOiJ", "refused ..."),
        ("eyJhbGciOiJ9", "..."),
        ("exactly to the end", "exactly to ..."),
    ],
)
def test_what_is_shortened_ends_between_words(text: str, shown: str) -> None:
    assert shortened(text, 10) == shown
