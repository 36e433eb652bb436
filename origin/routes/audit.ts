/** Reads the audit log. No route here or elsewhere changes or removes an entry. */
import { Type, type Static } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { type AuditKind, auditKindOf, auditKinds, formerAuditKinds, type FormerAuditKind } from "#base/audit-kinds.ts";
import type { AuditEntry } from "../catalogue/audit-entry.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { tokenKinds } from "../token/token-kind.ts";

const kind = Type.Unsafe<AuditKind>({ type: "string", enum: [...auditKinds], description: "what was done" });

const askedKind = Type.Unsafe<AuditKind | FormerAuditKind>({
  type: "string",
  enum: [...auditKinds, ...formerAuditKinds],
  description: `what was done; ${formerAuditKinds.join(" and ")} are former names`,
});

const auditQuery = Type.Object(
  {
    name: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 500,
        description: "a picture, node, host or tag; purges by prefix, by host and of all match the names they cover",
      }),
    ),
    kind: Type.Optional(askedKind),
    author: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
    since: Type.Optional(
      Type.String({ maxLength: 40, description: "ISO 8601, such as 2026-03-01T12:00:00Z: no older entries" }),
    ),
    before: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: Number.MAX_SAFE_INTEGER,
        description: "only entries with a smaller id: `next` of the previous page",
      }),
    ),
    limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
  },
  { additionalProperties: false },
);

const fact = Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Array(Type.String())]);

const auditEntry = Type.Object({
  id: Type.Integer(),
  at: Type.String({ description: "ISO 8601, UTC" }),
  kind,
  author: Type.String({ description: "the author that the client claims to be" }),
  token: Type.Optional(
    Type.Object(
      { kind: Type.Unsafe<(typeof tokenKinds)[number]>({ type: "string", enum: [...tokenKinds] }), id: Type.String() },
      { description: "the token that was used; absent for a change on the origin's own machine" },
    ),
  ),
  address: Type.Optional(Type.String({ description: "address of the client" })),
  targets: Type.Array(Type.String(), { description: "names of pictures, nodes, hosts, tags; the first 20" }),
  targetCount: Type.Integer(),
  facts: Type.Record(Type.String(), fact, { description: "what changed" }),
});

const auditPage = Type.Object({
  entries: Type.Array(auditEntry, { description: "newest first" }),
  next: Type.Optional(Type.Integer({ description: "`before` of the next page; absent on the last" })),
});

export function addAuditRoute(app: App, catalogue: Pick<Catalogue, "audit">): void {
  app.get(
    `${apiPath}/audit`,
    {
      config: { access: "writer" },
      schema: {
        summary: "List who changed what, and when",
        tags: ["audit"],
        querystring: auditQuery,
        response: { 200: auditPage },
      },
    },
    async ({ query }, reply) => {
      const { since, before, limit, kind: asked, ...rest } = query;
      const sinceMs = since === undefined ? undefined : readTime(since);
      // One more than requested shows whether there is a next page.
      const today = asked === undefined ? undefined : (auditKindOf(asked) as AuditKind);
      const found = await catalogue.audit({ ...rest, kind: today, sinceMs, beforeId: before, limit: limit + 1 });
      const page = found.slice(0, limit);
      const last = page.at(-1);
      void reply.header("cache-control", "no-store");
      return {
        entries: page.map(entryShape),
        ...(found.length > page.length && last !== undefined ? { next: last.id } : {}),
      };
    },
  );
}

/** @throws NearcastError BAD_PARAMETER */
function readTime(text: string): number {
  const timeMs = Date.parse(text);
  if (!Number.isNaN(timeMs)) return timeMs;
  throw new NearcastError("BAD_PARAMETER", `since must be a time such as 2026-03-01T12:00:00Z (got "${text}")`);
}

function entryShape({ atMs, token, address, ...rest }: AuditEntry): Static<typeof auditEntry> {
  const { id, kind: what, author, targets, targetCount, facts } = rest;
  return {
    id,
    at: new Date(atMs).toISOString(),
    kind: what,
    author,
    ...(token === undefined ? {} : { token }),
    ...(address === undefined ? {} : { address }),
    targets: [...targets],
    targetCount,
    facts: facts as Static<typeof auditEntry>["facts"],
  };
}
