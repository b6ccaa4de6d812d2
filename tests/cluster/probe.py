"""Asks the model a few questions, and waits before it does when it is told to: `until`, in seconds since 1970.

It is the entry point of the suite's own provider, in the image that the other steps of a pipeline have: so the suite
needs no further image. The score is the share of questions that got an answer, whatever the model makes of them.
"""

import json
import os
import ssl
import time
import urllib.request

with open(os.environ["EVALHUB_JOB_SPEC_PATH"], encoding="utf-8") as file:
    job = json.load(file)
model, folder = job["model"], job["model"].get("auth", {}).get("secret_ref", "").removeprefix("file://")
time.sleep(max(0, job["parameters"].get("until", 0) - time.time()))

headers, context = {"Content-Type": "application/json"}, None
if os.path.isfile(f"{folder}/api-key"):
    with open(f"{folder}/api-key", encoding="ascii") as file:
        headers["Authorization"] = f"Bearer {file.read().strip()}"
if os.path.isfile(f"{folder}/ca_cert"):
    context = ssl.create_default_context(cafile=f"{folder}/ca_cert")
questions = [f"What is {n} + 2? Answer with the number." for n in range(4)]
answers = []
for question in questions:
    body = {"model": model["name"], "messages": [{"role": "user", "content": question}], "max_tokens": 64}
    request = urllib.request.Request(f"{model['url']}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=120, context=context) as reply:
        answers.append(json.load(reply)["choices"][0]["message"]["content"])

answered = sum(bool(answer) for answer in answers) / len(questions)
event = {
    "provider_id": job["provider_id"],
    "id": job["benchmark_id"],
    "benchmark_index": job["benchmark_index"],
    "status": "completed",
    "metrics": {"answered": answered, "silent": 1 - answered},
}
url = f"{job['callback_url']}/api/v1/evaluations/jobs/{job['id']}/events"
body = json.dumps({"benchmark_status_event": event}).encode()
with urllib.request.urlopen(urllib.request.Request(url, body, {"Content-Type": "application/json"})):
    pass
