/** The kinds of change that the origin's audit log records, and that `nearcast audit --kind` asks for. */
export const auditKinds = [
  "put",
  "rm",
  "rollback",
  "purge",
  "apply",
  "fleet-rollback",
  "secret-rotate",
  "token-rotate",
  "token-retire",
  "join",
  "leave",
  "drain",
  "undrain",
  "verify",
  "repair",
  "backup",
  "restore",
  "refused",
] as const;
export type AuditKind = (typeof auditKinds)[number];
