#!/bin/sh
# Runs the quickstart collection against the demo model; exits with the verdict's status.
set -eu
cd "$(dirname "$0")/.."
evalhub() { .venv/bin/evalhub-kfp "$@"; }

folder=$(mktemp -d)
trap 'kill "$model" 2>/dev/null; rm -rf "$folder"' EXIT INT TERM
.venv/bin/evalhub-kfp demo-model --port 0 --port-file "$folder/port" --skill 0.9 >"$folder/log" 2>&1 &
model=$!
until [ -s "$folder/port" ]; do
  kill -0 "$model" 2>/dev/null || { cat "$folder/log" >&2; exit 2; }
  sleep 0.1
done

status=0
evalhub run quickstart-v1 --model-url "http://127.0.0.1:$(cat "$folder/port")/v1" --model-name demo-model "$@" || status=$?
exit $status
