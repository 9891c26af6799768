"""Creates, changes and lists leads through the package that openapi-python-client generates."""
import os
import uuid

from rapport import AuthenticatedClient
from rapport.api.leads import batch_create_leads, create_lead, get_lead, list_leads, update_lead
from rapport.models import BatchResult, Lead, LeadBatchCreate, LeadCreate, LeadInclude, LeadPage, LeadUpdate, Problem
from rapport.types import UNSET, Unset

client = AuthenticatedClient(base_url=os.environ["RAPPORT_URL"], token=os.environ["RAPPORT_API_KEY"])

created = create_lead.sync_detailed(
    client=client,
    body=LeadCreate(title="New office", value_minor=1250000, tags=["vip"]),
    idempotency_key=str(uuid.uuid4()),
)
lead = created.parsed
assert created.status_code == 201 and isinstance(lead, Lead), created
assert lead.value_minor == 1250000, lead
etag = created.headers["ETag"]

change = LeadUpdate(value_minor=3000000000)
updated = update_lead.sync(lead.id, client=client, body=change, if_match=etag)
assert isinstance(updated, Lead) and updated.value_minor == 3000000000, updated
read = get_lead.sync(lead.id, client=client)
assert isinstance(read, Lead) and read.value_minor == 3000000000, read
assert read.title == "New office" and read.tags == ["vip"], read

stale = update_lead.sync_detailed(lead.id, client=client, body=change, if_match=etag)
assert stale.status_code == 412 and isinstance(stale.parsed, Problem), stale
assert stale.parsed.code == "precondition_failed", stale

items = [LeadCreate(title="First"), LeadCreate(title="Second")]
batch = batch_create_leads.sync(client=client, body=LeadBatchCreate(items=items))
assert isinstance(batch, BatchResult) and [item.status for item in batch.results] == [201, 201], batch

wrong = create_lead.sync_detailed(client=client, body=LeadCreate(title=" ", score=200))
assert wrong.status_code == 422 and isinstance(wrong.parsed, Problem), wrong
assert wrong.parsed.code == "invalid" and not isinstance(wrong.parsed.errors, Unset), wrong
pointers = [error.pointer for error in wrong.parsed.errors]
assert pointers == ["/title", "/score"], pointers

seen: set[uuid.UUID] = set()
pages = with_company = 0
cursor: str | Unset = UNSET
while True:
    page = list_leads.sync(client=client, include=[LeadInclude.COMPANY], limit=50, cursor=cursor)
    assert isinstance(page, LeadPage), page
    pages += 1
    for row in page.data:
        seen.add(row.id)
        with_company += bool(row.company)
    if not page.page.next_:
        break
    cursor = page.page.next_
assert pages > 1 and with_company > 0 and lead.id in seen, (pages, with_company)

print(
    f"{len(seen)} leads on {pages} pages, {with_company} with a company; {lead.value_minor} -> {read.value_minor}; "
    f"412 {stale.parsed.code}; 422 {wrong.parsed.code} at {' '.join(pointers)}; a batch of {batch.succeeded}"
)
