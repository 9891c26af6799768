// Prints every lead with its company, page by page; fails when no lead has one, because then `include` is broken.
import { answered, api } from "./client.js";

let cursor: string | undefined;
let leads = 0;
let withCompany = 0;
do {
  const { data, page } = answered(
    await api.GET("/api/v1/leads", {
      params: { query: { include: ["company"], sort: "-created_at", limit: 20, ...(cursor ? { cursor } : {}) } },
    }),
  );
  for (const lead of data) {
    leads += 1;
    if (lead.company) withCompany += 1;
    console.log(`${lead.status.padEnd(10)} ${lead.title} (${lead.company?.name ?? "no company"})`);
  }
  cursor = page.next ?? undefined;
} while (cursor);

console.log(`${leads} leads, ${withCompany} with a company`);
if (withCompany === 0) throw new Error("no lead came with its company");
