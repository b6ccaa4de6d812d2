"""An adapter that leaves its credentials wherever a framework was ever seen to leave them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import urllib.parse
from pathlib import Path

from scripted import results

from evalhub_components.adapter import (
    EvaluationResult,
    FrameworkAdapter,
    JobCallbacks,
    JobResults,
    JobSpec,
    JobStatusUpdate,
)
from evalhub_components.schema.results import Sample

CHUNK = 1 << 20


class Leaky(FrameworkAdapter):
    """Leaks, and then succeeds or fails as `do` says."""

    def run_benchmark_job(self, config: JobSpec, callbacks: JobCallbacks) -> JobResults:
        key, token = str(config.credentials.api_key), str(config.credentials.hf_token)
        raw = config.raw_dir
        print("Authorization: Bearer", key)
        print("token", token, file=sys.stderr)
        (raw / "plain.txt").write_text(f"{key} and {key}")
        (raw / "escaped.json").write_text(json.dumps({"key": key, "token": token}))
        (raw / "url.txt").write_text(f"https://host/?key={urllib.parse.quote(key, safe='')}")
        # as it comes out where it starts at each of the three places in a group of base64
        for before in ("", "k", "ke"):
            for encode in (base64.b64encode, base64.urlsafe_b64encode):
                (raw / f"{encode.__name__}-{len(before)}.txt").write_bytes(encode(f"{before}{key}:and more".encode()))
        (raw / "large.bin").write_bytes(b"\0" * (CHUNK - 5) + key.encode() + b"\0" * CHUNK + token.encode())
        (raw / f"name-{key}.txt").write_text("a name can hold it")
        folder = raw / f"folder-{key}" / f"again-{key}"
        folder.mkdir(parents=True)
        (folder / "inner.txt").write_text(key)
        (raw / f"link-{key}").symlink_to("/etc/hostname")
        (raw / "harmless.txt").write_text("nothing here")
        os.utime(raw / "harmless.txt", (1_000_000_000, 1_000_000_000))
        (raw / "archive.gz").write_bytes(gzip.compress(b"nothing here either", mtime=0))
        os.utime(raw / "archive.gz", (1_000_000_000, 1_000_000_000))
        callbacks.report_status(JobStatusUpdate(phase=f"with {key}"))
        if config.parameters.get("do") == "fail":
            raise RuntimeError(f"401 for Bearer {key}")
        if config.parameters.get("do") == "fail_at_length":
            # the reason is cut at 2000 characters
            raise RuntimeError(("x" * 2000)[: 1997 - len("RuntimeError: ")] + key)
        if config.parameters.get("do") == "late":
            callbacks.report_results(results(config))
            os.write(1, f"written late: {key}\n".encode())
            Path(raw / "late.txt").write_text(key)
            return results(config)
        return results(
            config,
            results=[EvaluationResult("acc", 0.5), EvaluationResult(f"metric {key}", f"value {token}")],
            samples=[Sample(id=key, score=1, details={key: [token]})],
            environment={"headers": {"Authorization": f"Bearer {key}"}, key: 1},
            evaluation_metadata={"token": token},
            data_digests={key: "sha256:" + "0" * 64},
            usage={key: 1.0},
        )
