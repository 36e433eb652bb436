/**
 * What a person or a program asks about the nodes: which are connected, what each of them answers to a question, and
 * what a purge found on them. Needs the writer's token; nothing here changes anything.
 */
import { Type } from "typebox";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { nodeQuestionSchema } from "#follow/channel/messages.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { ConnectedNodes } from "../channel/connections.ts";
import type { PurgeReports, PurgeState } from "../channel/purge-reports.ts";
import type { Questions, Target } from "../channel/questions.ts";
import { apiPath, type App } from "../http/app-type.ts";
import type { RosterKeeper } from "../roster/roster-changes.ts";

export interface ConnectedRouteDeps {
  readonly connected: ConnectedNodes;
  readonly questions: Questions;
  readonly purgeReports: PurgeReports;
  readonly roster: Pick<RosterKeeper, "nodes">;
  readonly catalogue: Pick<Catalogue, "eventsAfter">;
  readonly clock: Clock;
}

const waitMs = (fallback: number) =>
  Type.Integer({ minimum: 0, maximum: 10_000, default: fallback, description: "how long to wait for the nodes" });
const nodeNames = (description: string) =>
  Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { minItems: 1, maxItems: 1000, description }));

const questionBody = Type.Object(
  {
    question: nodeQuestionSchema,
    nodes: nodeNames("ask these; without it and `sites`, all"),
    sites: nodeNames("ask the nodes of these sites"),
    first: Type.Optional(
      Type.Boolean({ description: "ask one node only: the first of those selected that is connected" }),
    ),
    waitMs: waitMs(5000),
  },
  { additionalProperties: false },
);

const answerShape = Type.Object({
  node: Type.String(),
  site: Type.String(),
  process: Type.Optional(Type.Integer()),
  tookMs: Type.Optional(Type.Integer()),
  outcome: Type.String({ description: "answered, refused, too-large, malformed, timed-out, unproven or away" }),
  reason: Type.Optional(Type.String()),
  status: Type.Optional(Type.Integer({ description: "as the node's admin listener would answer" })),
  body: Type.Optional(Type.Unknown()),
});

const connectionShape = Type.Object({
  node: Type.Optional(Type.String({ description: "absent: it did not introduce itself" })),
  site: Type.Optional(Type.String()),
  process: Type.Optional(Type.Integer()),
  processes: Type.Optional(Type.Integer()),
  release: Type.Optional(Type.String()),
  isProven: Type.Boolean({ description: "it proved that it knows the fleet secret" }),
  address: Type.String(),
  since: Type.String({ description: "ISO 8601, UTC" }),
  lastHeard: Type.String({ description: "ISO 8601, UTC" }),
  state: Type.Optional(Type.String()),
  fleetVersion: Type.Optional(Type.Integer()),
  feedSeq: Type.Optional(Type.Integer()),
});

const held = Type.Object({ entries: Type.Integer(), bytes: Type.Integer() });
const purgeState = Type.Object({
  seq: Type.Integer(),
  isSettled: Type.Boolean({ description: "all nodes that were connected have reported" }),
  nodes: Type.Array(
    Type.Object({
      node: Type.String(),
      site: Type.String(),
      state: Type.String({ description: "done, waiting, or away: it replays the purge before it serves" }),
      tookMs: Type.Optional(Type.Integer()),
      memory: held,
      disk: held,
      records: Type.Integer(),
      isComplete: Type.Boolean(),
    }),
  ),
  anonymous: Type.Integer({ description: "subscribers that did not introduce themselves: they don't report" }),
  unheld: Type.Object(
    {
      names: Type.Array(Type.String()),
      hosts: Type.Array(Type.String()),
      tags: Type.Array(Type.String()),
      prefix: Type.Optional(Type.String()),
    },
    { description: "what no node that reported held anything for; empty while none has reported" },
  ),
});

export function addConnectedRoutes(app: App, deps: ConnectedRouteDeps): void {
  const { connected, questions, purgeReports, roster, catalogue, clock } = deps;
  app.get(
    `${apiPath}/nodes/connected`,
    {
      exposeHeadRoute: false,
      config: { access: "writer" },
      schema: {
        summary: "Who follows the feed now; a node with several processes has one entry for each",
        tags: ["nodes"],
        response: { 200: Type.Object({ connections: Type.Array(connectionShape) }) },
      },
    },
    async () => {
      const offsetMs = clock.wallMs() - clock.monotonicMs();
      const time = (atMs: number): string => new Date(offsetMs + atMs).toISOString();
      return {
        connections: connected.all().map(({ introduction, unprovenName, presence, ...one }) => ({
          ...introduction,
          ...(unprovenName === undefined ? {} : { node: unprovenName }),
          ...presence,
          isProven: introduction !== undefined,
          address: one.address,
          since: time(one.sinceMs),
          lastHeard: time(one.heardAtMs),
        })),
      };
    },
  );

  app.post(
    `${apiPath}/nodes/questions`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Ask nodes what their admin listeners would tell: status, or why they answer a URL or a name so",
        tags: ["nodes"],
        body: questionBody,
        response: { 200: Type.Object({ answers: Type.Array(answerShape) }) },
      },
    },
    async ({ body }) => {
      const known = await knownNodes(deps);
      const selected = select(known, body.nodes, body.sites);
      const present = new Set(connected.introduced().map(({ introduction }) => introduction.node));
      const one = selected.find(({ node }) => present.has(node)) ?? selected[0];
      const targets = body.first === true && one !== undefined ? [one] : selected;
      return { answers: await questions.ask(body.question, targets, body.waitMs) };
    },
  );

  app.get(
    `${apiPath}/purges/:seq`,
    {
      exposeHeadRoute: false,
      config: { access: "writer" },
      schema: {
        summary: "What each node found for a purge; waits until all connected nodes have reported, or `waitMs`",
        tags: ["images"],
        params: Type.Object({ seq: Type.String({ pattern: "^\\d{1,15}$" }) }),
        querystring: Type.Object({ waitMs: waitMs(0) }, { additionalProperties: false }),
        response: { 200: purgeState },
      },
    },
    async (request) => {
      const seq = Number(request.params.seq);
      await purgeReports.settled(seq, request.query.waitMs);
      const state = purgeReports.state(seq);
      if (state === undefined) throw new NearcastError("NOT_FOUND", `event ${seq} is not one of the recent purges`);
      const [event] = await catalogue.eventsAfter(seq - 1, 1);
      const reported = new Set(state.nodes.map(({ node }) => node));
      const away = (await roster.nodes()).filter(({ node }) => !reported.has(node));
      return {
        seq,
        isSettled: state.isSettled,
        nodes: [...state.nodes, ...away.map(({ node, site }) => ({ node, site, state: "away", ...nothing }))],
        anonymous: connected.anonymousCount(),
        // Pruned meanwhile: the next event is a different one.
        unheld: unheldOf(event?.seq === seq ? event.json : "{}", state),
      };
    },
  );
}

const nothing = { memory: { entries: 0, bytes: 0 }, disk: { entries: 0, bytes: 0 }, records: 0, isComplete: true };

/** The fleet's nodes, and those that are connected although the fleet does not name them. */
async function knownNodes({ roster, connected }: ConnectedRouteDeps): Promise<readonly Target[]> {
  const others = connected.introduced().map(({ introduction: { node, site } }) => ({ node, site }));
  const byName = new Map([...others, ...(await roster.nodes())].map((one) => [one.node, one]));
  return [...byName.values()].toSorted((one, other) => (one.node < other.node ? -1 : 1));
}

/** @throws NearcastError NOT_FOUND for a node or a site that is not there */
function select(
  known: readonly Target[],
  nodes: readonly string[] | undefined,
  sites: readonly string[] | undefined,
): readonly Target[] {
  for (const [what, wanted, there] of [
    ["node", nodes ?? [], known.map(({ node }) => node)],
    ["site", sites ?? [], [...new Set(known.map(({ site }) => site))]],
  ] as const) {
    const missing = wanted.find((name) => !there.includes(name));
    if (missing === undefined) continue;
    const told = there.length === 0 ? "it has none" : `it has ${there.slice(0, 100).join(", ")}`;
    throw new NearcastError("NOT_FOUND", `the fleet has no ${what} "${missing}"; ${told}`);
  }
  if (nodes === undefined && sites === undefined) return known;
  return known.filter(({ node, site }) => nodes?.includes(node) === true || sites?.includes(site) === true);
}

interface OrderedPurge {
  readonly names?: readonly string[];
  readonly hosts?: readonly string[];
  readonly tags?: readonly string[];
  readonly prefix?: string;
}

function unheldOf(
  json: string,
  { nodes, held: heldPlaces, isPrefixHeld }: PurgeState,
): { names: string[]; hosts: string[]; tags: string[]; prefix?: string } {
  // Edges of release 0.1.0 purge and do not report: what is unknown is not unheld.
  if (!nodes.some(({ state }) => state === "done")) return { names: [], hosts: [], tags: [] };
  const { names, hosts, tags, prefix } = JSON.parse(json) as OrderedPurge;
  const rest = (all: readonly string[] | undefined, places: ReadonlySet<number>): string[] =>
    (all ?? []).filter((_one, index) => !places.has(index));
  return {
    names: rest(names, heldPlaces.names),
    hosts: rest(hosts, heldPlaces.hosts),
    tags: rest(tags, heldPlaces.tags),
    ...(prefix === undefined || isPrefixHeld ? {} : { prefix }),
  };
}
