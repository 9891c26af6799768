// A typed API client as front ends write it (its types, api.ts, are generated from the OpenAPI document).
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

export const api = createClient<paths>({
  baseUrl: setting("RAPPORT_URL"),
  headers: { Authorization: `Bearer ${setting("RAPPORT_API_KEY")}` },
});

/** Ends the program with the service's own words (RFC 9457) when a call failed. */
export function answered<T>(result: { data?: T; error?: unknown; response: Response }): T {
  if (result.data === undefined) {
    throw new Error(`HTTP ${result.response.status}: ${JSON.stringify(result.error)}`);
  }
  return result.data;
}
