/**
 * The kinds of change that the origin's audit log records, and that `nearcast audit --kind` asks for. A change made by
 * a command has the command's name, such as `fleet-apply`.
 */
export const auditKinds = [
  "put",
  "rm",
  "rollback",
  "purge",
  "fleet-apply",
  "fleet-rollback",
  "secret-rotate",
  "token-rotate",
  "token-retire",
  "join",
  "remove",
  "drain",
  "undrain",
  "verify",
  "repair",
  "backup",
  "restore",
  "refused",
] as const;
export type AuditKind = (typeof auditKinds)[number];

/** Names in earlier releases. Audit entries are final, so old entries keep these names. */
const formerNames = { apply: "fleet-apply", leave: "remove" } as const satisfies Record<string, AuditKind>;
export type FormerAuditKind = keyof typeof formerNames;
export const formerAuditKinds = Object.keys(formerNames) as readonly FormerAuditKind[];

/** The current name. Other text is returned unchanged. */
export function auditKindOf(name: string): string {
  return new Map<string, AuditKind>(Object.entries(formerNames)).get(name) ?? name;
}

/** All names that entries of a kind may have. */
export function namesOfAuditKind(kind: AuditKind): string[] {
  return [kind, ...formerAuditKinds.filter((name) => formerNames[name] === kind)];
}
