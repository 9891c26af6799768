// Prints every contact with its company, page by page, through the generated client.
import { answered, api } from "./client.js";

let cursor: string | undefined;
let contacts = 0;
const companies = new Set<string>();
do {
  const { data, page } = answered(
    await api.GET("/api/v1/contacts", {
      params: { query: { include: ["company"], limit: 200, ...(cursor ? { cursor } : {}) } },
    }),
  );
  for (const contact of data) {
    contacts += 1;
    if (contact.company) companies.add(contact.company.id);
    const name = [contact.first_name, contact.last_name].filter(Boolean).join(" ");
    console.log(`${name} (${contact.company?.name ?? "no company"})`);
  }
  cursor = page.next ?? undefined;
} while (cursor);

console.log(`${contacts} contacts at ${companies.size} companies`);
if (companies.size === 0) throw new Error("no contact came with its company");
