// Creates, changes and lists leads through the functions that orval generates.
import assert from "node:assert/strict";
import { batchCreateLeads, createLead, getLead, listLeads, updateLead } from "./generated/leads/leads.js";

const authorization = { Authorization: `Bearer ${process.env["RAPPORT_API_KEY"]}` };

const created = await createLead(
  { title: "New office", value_minor: 1250000, tags: ["vip"] },
  { headers: { ...authorization, "Idempotency-Key": crypto.randomUUID() } },
);
assert.ok(created.status === 201);
const lead = created.data;
assert.equal(lead.value_minor, 1250000);
const etag = created.headers.get("ETag");
assert.ok(etag);

const conditional = { headers: { ...authorization, "If-Match": etag } };
const updated = await updateLead(lead.id, { value_minor: 3000000000 }, conditional);
assert.ok(updated.status === 200);
assert.equal(updated.data.value_minor, 3000000000);
const read = await getLead(lead.id, {}, { headers: authorization });
assert.ok(read.status === 200);
assert.equal(read.data.value_minor, 3000000000);
assert.deepEqual([read.data.title, read.data.tags], ["New office", ["vip"]]);

const stale = await updateLead(lead.id, { value_minor: 1 }, conditional);
assert.ok(stale.status === 412);
assert.equal(stale.data.code, "precondition_failed");

const batch = await batchCreateLeads({ items: [{ title: "First" }, { title: "Second" }] }, { headers: authorization });
assert.ok(batch.status === 200);
assert.deepEqual(batch.data.results.map((item) => item.status), [201, 201]);

const wrong = await createLead({ title: " ", score: 200 }, { headers: authorization });
assert.ok(wrong.status === 422);
assert.equal(wrong.data.code, "invalid");
const pointers = wrong.data.errors?.map((error) => error.pointer);
assert.deepEqual(pointers, ["/title", "/score"]);

const seen = new Set<string>();
let [pages, withCompany] = [0, 0];
let cursor: string | undefined;
do {
  const list = await listLeads({ include: ["company"], limit: 50, cursor }, { headers: authorization });
  assert.ok(list.status === 200);
  for (const row of list.data.data) {
    seen.add(row.id);
    if (row.company) withCompany += 1;
  }
  pages += 1;
  cursor = list.data.page.next ?? undefined;
} while (cursor);
assert.ok(pages > 1 && withCompany > 0 && seen.has(lead.id));

console.log(
  `${seen.size} leads on ${pages} pages, ${withCompany} with a company; ${lead.value_minor} -> ${read.data.value_minor}; ` +
    `412 ${stale.data.code}; 422 ${wrong.data.code} at ${pointers?.join(" ")}; a batch of ${batch.data.succeeded}`,
);
