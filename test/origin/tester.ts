/**
 * Who changes things in tests that speak to the catalogue itself, and limits that no test of something else reaches.
 */
import type { Actor } from "../../origin/catalogue/audit-entry.ts";

export const tester: Actor = {
  token: { kind: "writer", id: "0123abcd" },
  author: "test",
  address: "192.0.2.7",
};

export const wideLimits = {
  versionsPerName: 10,
  fleetVersions: 10,
  events: 200,
  auditDays: 400,
  auditEntries: 1000,
};
