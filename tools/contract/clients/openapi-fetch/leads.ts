// Creates, changes and lists leads through openapi-fetch, with types of openapi-typescript.
import assert from "node:assert/strict";
import { answered, api } from "./client.js";

const created = await api.POST("/api/v1/leads", {
  params: { header: { "Idempotency-Key": crypto.randomUUID() } },
  body: { title: "New office", value_minor: 1250000, tags: ["vip"] },
});
const lead = answered(created);
assert.equal(created.response.status, 201);
assert.equal(lead.value_minor, 1250000);
const etag = created.response.headers.get("ETag") ?? undefined;
assert.ok(etag);

const path = { id: lead.id };
const change = { params: { path, header: { "If-Match": etag } }, body: { value_minor: 3000000000 } };
assert.equal(answered(await api.PATCH("/api/v1/leads/{id}", change)).value_minor, 3000000000);
const read = answered(await api.GET("/api/v1/leads/{id}", { params: { path } }));
assert.equal(read.value_minor, 3000000000);
assert.deepEqual([read.title, read.tags], ["New office", ["vip"]]);

const stale = await api.PATCH("/api/v1/leads/{id}", change);
assert.equal(stale.response.status, 412);
assert.equal(stale.error?.code, "precondition_failed");

const batch = answered(
  await api.POST("/api/v1/leads/batch/create", { body: { items: [{ title: "First" }, { title: "Second" }] } }),
);
assert.deepEqual(batch.results.map((item) => item.status), [201, 201]);

const wrong = await api.POST("/api/v1/leads", { body: { title: " ", score: 200 } });
assert.equal(wrong.response.status, 422);
assert.equal(wrong.error?.code, "invalid");
const pointers = wrong.error?.errors?.map((error) => error.pointer);
assert.deepEqual(pointers, ["/title", "/score"]);

const seen = new Set<string>();
let [pages, withCompany] = [0, 0];
let cursor: string | undefined;
do {
  const query = { include: ["company" as const], limit: 50, ...(cursor ? { cursor } : {}) };
  const { data, page } = answered(await api.GET("/api/v1/leads", { params: { query } }));
  for (const row of data) {
    seen.add(row.id);
    if (row.company) withCompany += 1;
  }
  pages += 1;
  cursor = page.next ?? undefined;
} while (cursor);
assert.ok(pages > 1 && withCompany > 0 && seen.has(lead.id));

console.log(
  `${seen.size} leads on ${pages} pages, ${withCompany} with a company; ${lead.value_minor} -> ${read.value_minor}; ` +
    `412 ${stale.error?.code}; 422 ${wrong.error?.code} at ${pointers?.join(" ")}; a batch of ${batch.succeeded}`,
);
