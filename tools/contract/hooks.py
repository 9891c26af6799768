"""Schemathesis hooks: rules that the OpenAPI document cannot express."""
import re

import schemathesis
from schemathesis import GenerationMode

# A field of the row, or of a relation: the pattern of the parameter.
FIELD = r"[a-z0-9_]+(\.[a-z0-9_]+)?"


@schemathesis.hook
def before_call(context, case, **kwargs):
    _drop_valid_fields(case)
    _make_invalid_batch_atomic(case)
    _shorten_valid_wait(case)


def _drop_valid_fields(case):
    """Drops a valid `fields`: a projected response lacks members that the schema of a whole row requires.

    The row's schema requires them all the same, because generated clients would otherwise treat every member of
    every row as optional. Projections have their own tests; an invalid `fields` is still sent, and must be refused.
    """
    asked = (case.query or {}).get("fields")
    if asked is None:
        return
    names = asked if isinstance(asked, list) else str(asked).split(",")
    if 1 <= len(names) <= 100 and all(re.fullmatch(FIELD, str(name)) for name in names):
        del case.query["fields"]


def _make_invalid_batch_atomic(case):
    """Drops `all_or_none: false` from an invalid batch, which must be rejected.

    With it, an invalid item is no error of the request: the response is 200, and that item's result has status 422.
    """
    mode = case.meta.generation.mode if case.meta else None
    if mode == GenerationMode.NEGATIVE and "/batch/" in case.operation.path and isinstance(case.body, dict):
        if case.body.get("all_or_none") is False:
            del case.body["all_or_none"]


def _shorten_valid_wait(case):
    """Shortens a long poll that would wait longer than a request may take here; an invalid `wait` is still sent, and must be refused."""
    if case.operation.path.endswith("/task-claims") and isinstance(case.body, dict):
        wait = case.body.get("wait")
        if type(wait) is int and 0 < wait <= 50:
            case.body["wait"] = 0
