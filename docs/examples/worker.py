"""A worker that answers customers in the conversations that `ai` handles. docs/AI.md explains each step.

No dependencies; Python 3.8 or newer:

    RAPPORT_URL=http://127.0.0.1:8080 RAPPORT_API_KEY=rk_… python3 worker.py

Put your model into `write_answer`. Run as many of them as you like: each task is claimed by one.
"""

import json
import os
import signal
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

API = os.environ.get("RAPPORT_URL", "http://127.0.0.1:8080").rstrip("/") + "/api/v1"
KEY = os.environ.get("RAPPORT_API_KEY", "")
LEASE_SECONDS = 60
WAIT_SECONDS = 30
# How many times a request is sent that got no answer, or one that says to try again.
ATTEMPTS = 4


class Refused(Exception):
    """An error response: `status`, and `code`, which is stable."""

    def __init__(self, status, problem):
        super().__init__(f"{status} {problem.get('code')}: {problem.get('detail')}")
        self.status, self.code = status, problem.get("code")


def call(method, path, body=None, key=None):
    """Sends a request and returns its JSON. With an idempotency `key` a repetition has no second effect."""
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    if key:
        headers["Idempotency-Key"] = key
    data = None if body is None else json.dumps(body).encode()
    for attempt in range(1, ATTEMPTS + 1):
        pause = 2**attempt
        try:
            request = urllib.request.Request(API + path, data, headers, method=method)
            with urllib.request.urlopen(request, timeout=WAIT_SECONDS + 30) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            text = error.read().decode(errors="replace")
            problem = json.loads(text) if "json" in error.headers.get("Content-Type", "") else {"detail": text}
            if error.code not in (429, 503) or attempt == ATTEMPTS:
                raise Refused(error.code, problem) from None
            pause = int(error.headers.get("Retry-After") or pause)
        except (urllib.error.URLError, OSError):
            if attempt == ATTEMPTS:
                raise
        time.sleep(pause)


class Lease:
    """Keeps a claimed task while it is worked on; `lost` is set once it is not ours any more."""

    def __init__(self, task):
        self.path, self.token, self.lost = f"/worker-tasks/{task['id']}", task["token"], False
        self.over = threading.Event()

    def __enter__(self):
        threading.Thread(target=self.renew, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.over.set()

    def renew(self):
        while not self.over.wait(LEASE_SECONDS / 3):
            try:
                call("POST", self.path + "/renewal", {"token": self.token, "lease_seconds": LEASE_SECONDS})
            except Refused as refused:
                if refused.code == "lease_lost":
                    self.lost = True
                    return
            except OSError:
                pass  # The next renewal comes before the lease ends.


def write_answer(messages):
    """Returns the answer to a thread (oldest message first), and what the model used. Replace it by your model."""
    question = messages[-1].get("body") or ""
    text = f"Thank you for your message: “{question[:200]}” We will be with you shortly."
    return text, {"model": "example", "input_tokens": len(question) // 4, "output_tokens": len(text) // 4}


def read_thread(conversation):
    """Returns what was last said, oldest first: neither notes nor drafts."""
    query = urllib.parse.urlencode({"conversation_id": conversation, "sort": "-sent_at", "limit": 30})
    rows = call("GET", f"/messages?{query}")["data"]
    return [row for row in reversed(rows) if row["kind"] != "note" and row["status"] != "draft"]


def send(conversation, text, usage, last_message, key):
    """Sends an answer, unless something was said since `last_message`."""
    message = {"body": text, "author": "ai", "if_last_message_id": last_message}
    message.update({name: usage[name] for name in ("model", "input_tokens", "output_tokens") if name in usage})
    return call("POST", f"/conversations/{conversation}/messages", message, key)


def reply(task, lease):
    """Answers the customer. Returns what the completion of the task says."""
    conversation = task["payload"]["conversation_id"]
    thread = read_thread(conversation)
    if not thread or thread[-1]["direction"] != "inbound":
        # An earlier attempt has sent its answer and died before it could say so.
        return {"result": {"sent": False, "reason": "already answered"}}
    began = time.monotonic()
    text, usage = write_answer(thread)
    usage = {**usage, "latency_ms": int((time.monotonic() - began) * 1000)}
    try:
        if not lease.lost:
            message = send(conversation, text, usage, thread[-1]["id"], f"reply-{task['token']}")
            return {"result": {"sent": True, "message_id": message["id"]}, "usage": {**usage, "outcome": "sent"}}
    except Refused as refused:
        if refused.code not in ("conversation_moved", "window_closed"):
            raise
    # The customer wrote on, which has made a task of its own; or a person has answered; or it is too late for an answer.
    return {"result": {"sent": False}, "usage": {**usage, "outcome": "discarded"}}


def work(task):
    """Does a task, and reports how it ended."""
    token = {"token": task["token"]}
    try:
        with Lease(task) as lease:
            try:
                act, body = "completion", {**token, **reply(task, lease)}
            except Exception as error:  # Whatever it is: the task is tried again, later.
                act, body = "failure", {**token, "error": repr(error)[:2000]}
            call("POST", f"/worker-tasks/{task['id']}/{act}", body)
    except Refused as refused:
        if refused.code != "lease_lost":
            raise
        print(f"{task['id']}: {refused}", file=sys.stderr)


def run(most=None):
    """Works until the process is asked to stop (SIGTERM), or has done `most` tasks."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    done = 0
    while not stopping.is_set() and (most is None or done < most):
        claim = {"kinds": ["reply"], "lease_seconds": LEASE_SECONDS, "wait": WAIT_SECONDS}
        try:
            for task in call("POST", "/task-claims", claim)["data"]:
                work(task)
                done += 1
        except (Refused, OSError) as error:
            if getattr(error, "status", None) in (401, 403):
                raise  # The key is wrong, which waiting does not mend.
            print(error, file=sys.stderr)
            time.sleep(5)


if __name__ == "__main__":
    run()
