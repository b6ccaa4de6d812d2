#!/bin/sh
# The life of evidence: evaluates the demo model, pushes the signed evidence to a real registry, finds it by the run's own
# record and by MLflow, pulls and verifies it elsewhere, changes one byte in the registry's storage, and sees that named.
# Arguments go to `evalhub-kfp run`. Needs docker-registry (Debian).
set -eu
cd "$(dirname "$0")/.."
program=$PWD/.venv/bin/evalhub-kfp python=$PWD/.venv/bin/python
command -v docker-registry >/dev/null || { echo "this needs docker-registry (apt-get install docker-registry)" >&2; exit 2; }

folder=$(mktemp -d)
trap 'kill "$model" "$registry" 2>/dev/null; rm -rf "$folder"' EXIT INT TERM
step() { printf '\n== %s\n' "$*"; }
free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
published() { "$python" -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$run/publication.json" "$1"; }

port=$(free_port)
cat >"$folder/registry.yml" <<EOF
{"version": 0.1, "log": {"level": "error", "accesslog": {"disabled": true}}, "http": {"addr": "127.0.0.1:$port"},
 "storage": {"filesystem": {"rootdirectory": "$folder/storage"}}}
EOF
docker-registry serve "$folder/registry.yml" >"$folder/registry.log" 2>&1 &
registry=$!
"$program" demo-model --port 0 --port-file "$folder/port" --skill 0.9 >"$folder/model.log" 2>&1 &
model=$!
until [ -s "$folder/port" ]; do
  kill -0 "$model" 2>/dev/null || { cat "$folder/model.log" >&2; exit 2; }
  sleep 0.1
done

step "make a key pair"
export EVALHUB_SECRETS="$folder/secrets"
"$program" keys generate "$EVALHUB_SECRETS/evidence-signing"
key=$EVALHUB_SECRETS/evidence-signing/public.key

step "evaluate, push and sign"
"$program" run quickstart-v1 --model-url "http://127.0.0.1:$(cat "$folder/port")/v1" --model-name demo-model \
  --push-to "http://127.0.0.1:$port/team/evals" --signing-secret evidence-signing \
  --output "$folder/runs" --mlflow-uri "sqlite:///$folder/mlflow.db" --quiet "$@"
run=$(echo "$folder"/runs/*)

step "read the reference from the run, and from MLflow"
reference=$(published evidence_address)
echo "$reference"
"$python" - "$folder/mlflow.db" "$(published mlflow_run_id)" "$(published evidence_reference)" <<'EOF'
import sys
from mlflow import MlflowClient

database, run_id, reference = sys.argv[1:]
tags = MlflowClient(f"sqlite:///{database}").get_run(run_id).data.tags
print(tags["evalhub.evidence_reference"])
assert tags["evalhub.evidence_reference"] == reference
EOF

step "pull into an empty folder, and check the files without this program"
"$program" pull "$reference" "$folder/pulled"
(cd "$folder/pulled" && sha256sum --quiet --check SHA256SUMS && echo "sha256sum: every file is as it was")

step "verify"
"$program" verify "$reference" --key "$key" --require-pass --mlflow-uri "sqlite:///$folder/mlflow.db"

step "change one byte of a result in the registry's storage, and verify again"
"$python" - "$folder" <<'EOF'
import hashlib
import sys
from pathlib import Path

folder = Path(sys.argv[1])
results = next((folder / "pulled" / "benchmarks").glob("000-*/results.json"))
digest = hashlib.sha256(results.read_bytes()).hexdigest()
stored = folder / "storage/docker/registry/v2/blobs/sha256" / digest[:2] / digest / "data"
content = bytearray(stored.read_bytes())
content[content.index(b'"value"') + 9] ^= 1
stored.write_bytes(content)
print(f"changed {results.relative_to(folder / 'pulled')}")
EOF
status=0
"$program" verify "$reference" --key "$key" || status=$?
[ "$status" = 1 ] || { echo "verify ended with $status instead of 1" >&2; exit 2; }
step "the change was found"
