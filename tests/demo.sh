#!/bin/sh
# tests/demo.sh [COLLECTION] [OPTION ...]: runs a collection, by default the quickstart's, against the demo model, which is
# also the judge where one is needed; exits with the verdict's status.
set -eu
cd "$(dirname "$0")/.."

case ${1-} in
  '' | -*) collection=quickstart-v1 ;;
  *) collection=$1 && shift ;;
esac
folder=$(mktemp -d)
trap 'kill "$model" 2>/dev/null; rm -rf "$folder"' EXIT INT TERM
.venv/bin/evalhub-kfp demo-model --port 0 --port-file "$folder/port" --skill 0.9 >"$folder/log" 2>&1 &
model=$!
until [ -s "$folder/port" ]; do
  kill -0 "$model" 2>/dev/null || { cat "$folder/log" >&2; exit 2; }
  sleep 0.1
done

url="http://127.0.0.1:$(cat "$folder/port")/v1"
[ "$collection" = quickstart-v1 ] || set -- --judge-url "$url" --judge-name demo-model "$@"
status=0
.venv/bin/evalhub-kfp run "$collection" --model-url "$url" --model-name demo-model "$@" || status=$?
exit $status
