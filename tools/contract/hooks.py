"""Schemathesis hooks: rules that the OpenAPI document cannot express."""
import re

import schemathesis


@schemathesis.hook
def before_call(context, case, **kwargs):
    """Drops a valid `fields`: a projected response lacks members that the schema of a whole row requires.

    The row's schema requires them all the same, because generated clients would otherwise treat every member of
    every row as optional. Projections have their own tests; an invalid `fields` is still sent, and must be refused.
    """
    asked = (case.query or {}).get("fields")
    if asked is None:
        return
    names = asked if isinstance(asked, list) else str(asked).split(",")
    parameters = case.operation.definition.raw.get("parameters", [])
    items = next((p["schema"]["items"] for p in parameters if p.get("name") == "fields"), {})
    if 1 <= len(names) <= 100 and all(_is_known(name, items) for name in names):
        del case.query["fields"]


def _is_known(name, items):
    """Whether `name` is a field of the row (`enum`) or of a relation (`pattern`)."""
    arms = items.get("anyOf", [items])
    return any(name in arm.get("enum", []) or re.match(arm.get("pattern", "(?!)"), str(name)) for arm in arms)
