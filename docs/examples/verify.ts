// Verifies what Rapport sends (Standard Webhooks). No dependencies; Node.js 22.18 or newer runs this file directly.
import { createHmac, timingSafeEqual } from "node:crypto";

export type RapportEvent = { type: string; timestamp: string; data: Record<string, unknown> };

/** How far a message's timestamp may differ from our clock, in seconds. */
const TOLERANCE = 5 * 60;

/**
 * Returns the event of a request, if it is signed by one of our secrets and is not a replay of an old one. `body` must be the
 * body as received, byte for byte, not parsed and serialized again. Throws otherwise; respond with 400 then.
 */
export function verify(
  secrets: string[],
  headers: Record<string, string | string[] | undefined>,
  body: string,
  now: number = Date.now() / 1000,
): RapportEvent {
  const header = (name: string): string => {
    const value = headers[name];
    if (typeof value !== "string" || value === "") throw new Error(`no ${name}`);
    return value;
  };
  const [id, timestamp] = [header("webhook-id"), header("webhook-timestamp")];
  if (!/^\d{1,12}$/.test(timestamp) || Math.abs(now - Number(timestamp)) > TOLERANCE) {
    throw new Error("too old, or from the future");
  }
  const signatures = header("webhook-signature")
    .split(" ")
    .filter((signature) => signature.startsWith("v1,"))
    .map((signature) => Buffer.from(signature.slice(3), "base64"));
  const good = secrets.some((secret) => {
    const key = Buffer.from(secret.replace(/^whsec_/, ""), "base64");
    const expected = createHmac("sha256", key).update(`${id}.${timestamp}.${body}`).digest();
    return signatures.some((given) => given.length === expected.length && timingSafeEqual(given, expected));
  });
  if (!good) throw new Error("not signed by any of our secrets");
  return JSON.parse(body) as RapportEvent;
}
