// Creates, changes and lists leads through the SDK that Hey API generates.
import assert from "node:assert/strict";
import { client } from "./generated/client.gen.js";
import { batchCreateLeads, createLead, getLead, listLeads, updateLead } from "./generated/index.js";

client.setConfig({ baseUrl: process.env["RAPPORT_URL"], auth: process.env["RAPPORT_API_KEY"] });

const created = await createLead({
  headers: { "Idempotency-Key": crypto.randomUUID() },
  body: { title: "New office", value_minor: 1250000, tags: ["vip"] },
  throwOnError: true,
});
const lead = created.data;
assert.equal(created.response.status, 201);
assert.equal(lead.value_minor, 1250000);
const etag = created.response.headers.get("ETag");
assert.ok(etag);

const path = { id: lead.id };
const change = { path, headers: { "If-Match": etag }, body: { value_minor: 3000000000 } };
assert.equal((await updateLead({ ...change, throwOnError: true })).data.value_minor, 3000000000);
const read = (await getLead({ path, throwOnError: true })).data;
assert.equal(read.value_minor, 3000000000);
assert.deepEqual([read.title, read.tags], ["New office", ["vip"]]);

const stale = await updateLead(change);
assert.equal(stale.response?.status, 412);
assert.equal(stale.error?.code, "precondition_failed");

const batch = await batchCreateLeads({ body: { items: [{ title: "First" }, { title: "Second" }] }, throwOnError: true });
assert.deepEqual(batch.data.results.map((item) => item.status), [201, 201]);

const wrong = await createLead({ body: { title: " ", score: 200 } });
assert.equal(wrong.response?.status, 422);
assert.equal(wrong.error?.code, "invalid");
const pointers = wrong.error?.errors?.map((error) => error.pointer);
assert.deepEqual(pointers, ["/title", "/score"]);

const seen = new Set<string>();
let [pages, withCompany] = [0, 0];
let cursor: string | undefined;
do {
  const list = (await listLeads({ query: { include: ["company"], limit: 50, cursor }, throwOnError: true })).data;
  for (const row of list.data) {
    seen.add(row.id);
    if (row.company) withCompany += 1;
  }
  pages += 1;
  cursor = list.page.next ?? undefined;
} while (cursor);
assert.ok(pages > 1 && withCompany > 0 && seen.has(lead.id));

console.log(
  `${seen.size} leads on ${pages} pages, ${withCompany} with a company; ${lead.value_minor} -> ${read.value_minor}; ` +
    `412 ${stale.error?.code}; 422 ${wrong.error?.code} at ${pointers?.join(" ")}; a batch of ${batch.data.succeeded}`,
);
