/**
 * The answers of the origin's API, as far as the verbs use them. The shapes are checked, since the origin may run
 * another release than this command: that gives a clear failure instead of `undefined` in a table.
 */
import { check, problemLines } from "#base/schema.ts";
import type { NodeQuestion } from "#follow/channel/messages.ts";
import { unheldSchema } from "#purge/purge-report.ts";
import type { PurgeRequest } from "#purge/purge-request.ts";
import { tokenPattern } from "#secret/edge-token.ts";
import { type Roster, type RosterNode, rosterNodeSchema, rosterSchema } from "#document/roster.ts";
import { type Static, type TSchema, Type } from "typebox";
import { CommandFailure, exitCodes } from "./exit-codes.ts";
import { type Answer, encodeName, type OriginClient } from "./origin-client.ts";

const authored = { author: Type.String(), createdAt: Type.String() };
const picture = {
  sizeBytes: Type.Integer(),
  type: Type.String(),
  width: Type.Integer(),
  height: Type.Integer(),
};

const storedImage = Type.Object({
  name: Type.String(),
  version: Type.Integer(),
  ...picture,
  unchanged: Type.Boolean(),
  // An origin of the previous release does not send it.
  repaired: Type.Optional(Type.Boolean()),
});
export type StoredImage = Static<typeof storedImage>;

const listedImage = Type.Object({ name: Type.String(), version: Type.Integer(), ...picture, ...authored });
export type ListedImage = Static<typeof listedImage>;
const imageList = Type.Object({ images: Type.Array(listedImage), cursor: Type.Optional(Type.String()) });

const imageVersion = Type.Object({
  version: Type.Integer(),
  reason: Type.String(),
  fromVersion: Type.Optional(Type.Integer()),
  ...authored,
  sizeBytes: Type.Optional(Type.Integer()),
  type: Type.Optional(Type.String()),
  width: Type.Optional(Type.Integer()),
  height: Type.Optional(Type.Integer()),
});
const imageVersions = Type.Object({ name: Type.String(), versions: Type.Array(imageVersion) });
export type ImageVersions = Static<typeof imageVersions>;

const rolledBackImage = Type.Object({
  name: Type.String(),
  version: Type.Integer(),
  fromVersion: Type.Optional(Type.Integer()),
  unchanged: Type.Boolean(),
});
const deletedImage = Type.Object({ name: Type.String(), version: Type.Integer() });

const fleetVersion = Type.Object({
  version: Type.Integer(),
  ...authored,
  summary: Type.String(),
  fromVersion: Type.Optional(Type.Integer()),
});
export type FleetVersion = Static<typeof fleetVersion>;
const fleetVersions = Type.Object({ versions: Type.Array(fleetVersion) });
const fleetText = Type.Object({ ...fleetVersion.properties, text: Type.String() });
export type FleetText = Static<typeof fleetText>;
const publishedFleet = Type.Object({ ...fleetVersion.properties, unchanged: Type.Boolean() });
export type PublishedFleet = Static<typeof publishedFleet>;

// Kinds that a later origin may add are shown unchanged.
const fleetReview = Type.Object({
  dryRun: Type.Literal(true),
  version: Type.Optional(Type.Integer()),
  unchanged: Type.Boolean(),
  additive: Type.Boolean(),
  changes: Type.Array(
    Type.Object({ kind: Type.String(), what: Type.String(), name: Type.String(), detail: Type.String() }),
  ),
  changeCount: Type.Integer(),
  dangers: Type.Array(Type.Object({ kind: Type.String(), name: Type.String(), message: Type.String() })),
  dangerCount: Type.Integer(),
});
/** What publishing would change, and what it would take out of service. */
export type FleetReview = Static<typeof fleetReview>;
const openApiDocument = Type.Object({ paths: Type.Record(Type.String(), Type.Unknown()) });

/** The next fleet document: a new text, or that of an earlier version (undefined: the one before the newest). */
export type NextFleet = { readonly text: string } | { readonly rollbackTo: number | undefined };

export interface PublishOptions {
  /** Publishes even if that takes hosts, names or zones out of service. */
  force?: boolean;
  /** The newest version must be this one; 0: there must be no version yet. */
  ifVersion?: number | undefined;
}

const rotatedSecret = Type.Object({ id: Type.String(), previousId: Type.String(), seq: Type.Integer() });

const acceptedToken = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  current: Type.Boolean(),
  createdAt: Type.String(),
  expiresAt: Type.Optional(Type.String()),
  handedOut: Type.Boolean(),
  lastUsedAt: Type.Optional(Type.String()),
  usedFrom: Type.Array(Type.String()),
});
export type AcceptedToken = Static<typeof acceptedToken>;
const tokenList = Type.Object({ tokens: Type.Array(acceptedToken) });
const rotatedToken = Type.Object({
  kind: Type.String(),
  id: Type.String(),
  token: Type.String({ pattern: tokenPattern }),
  olderUntil: Type.Optional(Type.String()),
});
const retiredTokens = Type.Object({ kind: Type.String(), retired: Type.Integer() });

const joinedNode = Type.Object({ node: rosterNodeSchema, revision: Type.Integer(), unchanged: Type.Boolean() });
export type JoinedNode = Static<typeof joinedNode>;
const drainedNode = Type.Object({ name: Type.String(), draining: Type.Boolean(), revision: Type.Integer() });
export type DrainedNode = Static<typeof drainedNode>;
const removedNode = Type.Object({ name: Type.String(), revision: Type.Integer() });

const auditEntry = Type.Object({
  id: Type.Integer(),
  at: Type.String(),
  kind: Type.String(),
  author: Type.String(),
  token: Type.Optional(Type.Object({ kind: Type.String(), id: Type.String() })),
  address: Type.Optional(Type.String()),
  targets: Type.Array(Type.String()),
  targetCount: Type.Integer(),
  facts: Type.Record(
    Type.String(),
    Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Array(Type.String())]),
  ),
});
export type AuditEntry = Static<typeof auditEntry>;
const auditPage = Type.Object({ entries: Type.Array(auditEntry), next: Type.Optional(Type.Integer()) });

const purged = Type.Object({ seq: Type.Integer() });

const relayedAnswer = Type.Object({
  node: Type.String(),
  site: Type.String(),
  process: Type.Optional(Type.Integer()),
  outcome: Type.String(),
  reason: Type.Optional(Type.String()),
  status: Type.Optional(Type.Integer()),
  body: Type.Optional(Type.Unknown()),
});
export type RelayedAnswer = Static<typeof relayedAnswer>;
const relayedAnswers = Type.Object({ answers: Type.Array(relayedAnswer) });

const held = Type.Object({ entries: Type.Integer(), bytes: Type.Integer() });
const nodePurge = Type.Object({
  node: Type.String(),
  site: Type.String(),
  state: Type.String(),
  tookMs: Type.Optional(Type.Integer()),
  memory: held,
  disk: held,
  records: Type.Integer(),
  isComplete: Type.Boolean(),
});
export type NodePurge = Static<typeof nodePurge>;
const purgeState = Type.Object({
  seq: Type.Integer(),
  isSettled: Type.Boolean(),
  nodes: Type.Array(nodePurge),
  anonymous: Type.Integer(),
  unheld: unheldSchema,
});
export type PurgeState = Static<typeof purgeState>;

const amount = Type.Object({ count: Type.Integer(), sizeBytes: Type.Integer() });
const blobFault = Type.Object({
  sha256: Type.String(),
  fault: Type.String(),
  detail: Type.String(),
  uses: Type.Array(Type.Object({ name: Type.String(), version: Type.Integer(), isCurrent: Type.Boolean() })),
});
export type BlobFault = Static<typeof blobFault>;
const verifyAnswer = Type.Object({
  checked: amount,
  faults: Type.Array(blobFault),
  totals: Type.Optional(amount),
  cursor: Type.Optional(Type.String()),
});

/** The origin validates a whole document before it answers: 4 MiB take a while, and other requests may be ahead. */
const fleetAnswerTimeoutMs = 120_000;
/** Names per page; the origin's maximum. */
const pageLength = 1000;

export async function putImage(
  client: OriginClient,
  name: string,
  source: { file: string; sizeBytes: number; onBytes: (sentBytes: number) => void },
): Promise<StoredImage> {
  return read(storedImage, await client.call({ method: "PUT", path: `/images/${encodeName(name)}`, body: source }));
}

/** One step of the check of stored pictures, starting after the previous step's cursor. */
export async function verifyStep(
  client: OriginClient,
  after: string | undefined,
  hasTotals: boolean,
): Promise<Static<typeof verifyAnswer>> {
  const query = { after, totals: hasTotals ? "true" : undefined };
  return read(verifyAnswer, await client.call({ method: "GET", path: "/verifications", query }));
}

export async function hasImage(client: OriginClient, name: string): Promise<boolean> {
  const answer = await client.call({ method: "HEAD", path: `/images/${encodeName(name)}`, expect: [404, 410] });
  return answer.status < 400;
}

/** Every name that begins with the prefix, page after page. */
export async function* listImages(client: OriginClient, prefix: string): AsyncGenerator<ListedImage> {
  let cursor: string | undefined;
  do {
    const query = { prefix, limit: pageLength, cursor };
    const page: Static<typeof imageList> = read(
      imageList,
      await client.call({ method: "GET", path: "/images", query }),
    );
    yield* page.images;
    cursor = page.cursor;
  } while (cursor !== undefined);
}

export async function removeImage(client: OriginClient, name: string): Promise<Static<typeof deletedImage>> {
  return read(deletedImage, await client.call({ method: "DELETE", path: `/images/${encodeName(name)}` }));
}

export async function readVersions(client: OriginClient, name: string): Promise<ImageVersions> {
  return read(imageVersions, await client.call({ method: "GET", path: `/versions/${encodeName(name)}` }));
}

export async function rollbackImage(
  client: OriginClient,
  name: string,
  version: number | undefined,
): Promise<Static<typeof rolledBackImage>> {
  const json = { name, ...(version === undefined ? {} : { version }) };
  return read(rolledBackImage, await client.call({ method: "POST", path: "/rollbacks", body: { json } }));
}

export async function purge(client: OriginClient, request: PurgeRequest): Promise<Static<typeof purged>> {
  return read(purged, await client.call({ method: "POST", path: "/purges", body: { json: request } }));
}

/**
 * The nodes' reports on a purge; waits until all connected nodes have reported, or for `waitMs` (at most 10 s).
 * @returns undefined: the origin's release does not collect reports, or it has forgotten the purge
 */
export async function readPurge(client: OriginClient, seq: number, waitMs: number): Promise<PurgeState | undefined> {
  const answer = await client.call({ method: "GET", path: `/purges/${seq}`, query: { waitMs }, expect: [404] });
  return answer.status === 404 ? undefined : read(purgeState, answer);
}

/** Makes the origin ask the nodes: all of them, unless `nodes` or `sites` selects some. */
export async function askOverOrigin(
  client: OriginClient,
  json: { question: NodeQuestion; nodes?: string[]; sites?: string[]; first?: boolean },
): Promise<RelayedAnswer[]> {
  const path = "/nodes/questions";
  return read(relayedAnswers, await client.call({ method: "POST", path, body: { json }, isSafe: true })).answers;
}

/** Up to `limit` names that begin with the prefix. */
export async function someNames(client: OriginClient, prefix: string, limit: number): Promise<string[]> {
  const answer = await client.call({ method: "GET", path: "/images", query: { prefix, limit } });
  return read(imageList, answer).images.map(({ name }) => name);
}

/** The newest fleet document, or the given version; undefined when there is none. */
export async function readFleet(client: OriginClient, version?: number): Promise<FleetText | undefined> {
  const answer = await client.call({ method: "GET", path: "/fleet", query: { version }, expect: [404] });
  return answer.status === 404 ? undefined : read(fleetText, answer);
}

export async function readFleetVersions(client: OriginClient, limit: number): Promise<FleetVersion[]> {
  return read(fleetVersions, await client.call({ method: "GET", path: "/fleet/versions", query: { limit } })).versions;
}

export async function publishFleet(
  client: OriginClient,
  next: NextFleet,
  { force, ifVersion }: PublishOptions = {},
): Promise<PublishedFleet> {
  const query = force === true ? { force: "true" } : {};
  return read(publishedFleet, await client.call({ ...fleetCall(next, ifVersion), query }));
}

/** What publishFleet() would change, as the origin judges it; nothing is published. */
export async function reviewFleet(
  client: OriginClient,
  next: NextFleet,
  ifVersion: number | undefined,
): Promise<FleetReview> {
  await mustKnowDryRuns(client);
  const call = { ...fleetCall(next, ifVersion), query: { dryRun: "true" }, isSafe: true };
  return read(fleetReview, await client.call(call));
}

function fleetCall(next: NextFleet, ifVersion: number | undefined): Parameters<OriginClient["call"]>[0] {
  const headers: Record<string, string> =
    ifVersion === undefined ? {} : ifVersion === 0 ? { "if-none-match": "*" } : { "if-match": `"${ifVersion}"` };
  if ("text" in next) {
    const body = { text: next.text, type: "application/yaml" };
    return { method: "PUT", path: "/fleet", headers, body, answerTimeoutMs: fleetAnswerTimeoutMs };
  }
  const json = next.rollbackTo === undefined ? {} : { version: next.rollbackTo };
  return { method: "POST", path: "/fleet/rollbacks", headers, body: { json }, answerTimeoutMs: fleetAnswerTimeoutMs };
}

/** An origin of release 0.1 ignores `dryRun` and would publish; its OpenAPI document shows whether it does. */
async function mustKnowDryRuns(client: OriginClient): Promise<void> {
  const answer = await client.call({
    method: "GET",
    root: "/api",
    path: "/openapi.json",
    answerTimeoutMs: fleetAnswerTimeoutMs,
  });
  const { paths } = read(openApiDocument, answer);
  const put = (paths["/api/v1/fleet"] as { put?: { parameters?: { name?: string }[] } } | undefined)?.put;
  if (put?.parameters?.some(({ name }) => name === "dryRun") === true) return;
  throw new CommandFailure(
    exitCodes.failed,
    "this origin runs an older release, which can't report what would change",
    {
      lines: ["Upgrade the origin first."],
    },
  );
}

export async function rotateSecret(client: OriginClient): Promise<Static<typeof rotatedSecret>> {
  return read(rotatedSecret, await client.call({ method: "POST", path: "/fleet/secret/rotations" }));
}

export async function readTokens(client: OriginClient): Promise<AcceptedToken[]> {
  return read(tokenList, await client.call({ method: "GET", path: "/tokens" })).tokens;
}

export async function rotateToken(
  client: OriginClient,
  kind: string,
  json: { overlapSeconds?: number; handOut: boolean },
): Promise<Static<typeof rotatedToken>> {
  const answer = await client.call({ method: "POST", path: `/tokens/${kind}/rotations`, body: { json } });
  return read(rotatedToken, answer);
}

export async function retireTokens(client: OriginClient, kind: string): Promise<Static<typeof retiredTokens>> {
  return read(retiredTokens, await client.call({ method: "DELETE", path: `/tokens/${kind}/older` }));
}

/** Whether the origin accepts this token as an edge token: only edges may read the fleet secret. */
export async function mayFollow(client: OriginClient): Promise<boolean> {
  return (await client.call({ method: "GET", path: "/fleet/secret", expect: [403, 404] })).status !== 403;
}

export async function readRoster(client: OriginClient): Promise<Roster> {
  return read(rosterSchema, await client.call({ method: "GET", path: "/nodes" }));
}

export async function registerNode(
  client: OriginClient,
  node: Omit<RosterNode, "name"> & { name?: string },
): Promise<JoinedNode> {
  return read(joinedNode, await client.call({ method: "POST", path: "/nodes", body: { json: node } }));
}

export async function setDraining(client: OriginClient, node: string, isDraining: boolean): Promise<DrainedNode> {
  const path = `/nodes/${encodeURIComponent(node)}/draining`;
  return read(drainedNode, await client.call({ method: isDraining ? "PUT" : "DELETE", path }));
}

export async function removeNode(client: OriginClient, node: string): Promise<Static<typeof removedNode>> {
  return read(removedNode, await client.call({ method: "DELETE", path: `/nodes/${encodeURIComponent(node)}` }));
}

/**
 * The newest entries that match, page after page.
 * @param limit the maximum number of entries
 */
export async function readAudit(
  client: OriginClient,
  query: Readonly<Record<"name" | "kind" | "author" | "since", string | undefined>>,
  limit: number,
): Promise<{ entries: AuditEntry[]; hasMore: boolean }> {
  const entries: AuditEntry[] = [];
  let before: number | undefined;
  do {
    const page = { ...query, before, limit: Math.min(pageLength, limit - entries.length) };
    const answer: Static<typeof auditPage> = read(
      auditPage,
      await client.call({ method: "GET", path: "/audit", query: page }),
    );
    entries.push(...answer.entries);
    before = answer.next;
  } while (before !== undefined && entries.length < limit);
  return { entries, hasMore: before !== undefined };
}

function read<Schema extends TSchema>(schema: Schema, answer: Answer): Static<Schema> {
  const checked = check(schema, answer.body);
  if (checked.ok) return checked.value;
  throw new CommandFailure(
    exitCodes.failed,
    "the answer can't be read: is this the address of an origin, and of a similar release?",
    {
      lines: problemLines(checked.problems).slice(0, 5),
    },
  );
}
