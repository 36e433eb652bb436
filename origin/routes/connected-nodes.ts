/**
 * Requests of people and programs about the nodes: which are connected, and how each answers a question. They require
 * the writer token; nothing here changes anything.
 */
import { Type } from "typebox";
import type { Clock } from "#base/clock.ts";
import { NearcastError } from "#base/errors.ts";
import { nodeQuestionSchema } from "#follow/channel/messages.ts";
import type { ConnectedNodes } from "../channel/connections.ts";
import type { Questions, Target } from "../channel/questions.ts";
import { apiPath, type App } from "../http/app-type.ts";
import type { RosterKeeper } from "../roster/roster-changes.ts";

export interface ConnectedNodeRouteDeps {
  readonly connected: ConnectedNodes;
  readonly questions: Questions;
  readonly roster: Pick<RosterKeeper, "nodes">;
  readonly clock: Clock;
}

const waitMs = Type.Integer({
  minimum: 0,
  maximum: 10_000,
  default: 5000,
  description: "how long to wait for the nodes",
});
const nodeNames = (description: string) =>
  Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { minItems: 1, maxItems: 1000, description }));

const questionBody = Type.Object(
  {
    question: nodeQuestionSchema,
    nodes: nodeNames("ask these; without it and `sites`, all"),
    sites: nodeNames("ask the nodes of these sites"),
    first: Type.Optional(Type.Boolean({ description: "ask one node only: the first selected node that is connected" })),
    waitMs,
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
  node: Type.Optional(Type.String({ description: "absent if it did not introduce itself" })),
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

export function addConnectedNodeRoutes(app: App, deps: ConnectedNodeRouteDeps): void {
  const { connected, questions, clock } = deps;
  app.get(
    `${apiPath}/nodes/connected`,
    {
      config: { access: "writer" },
      schema: {
        summary: "List the nodes that follow the feed now, with one entry per process",
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
        summary: "Ask nodes for their status, or for an explanation of a URL or a name",
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
}

/** The fleet's nodes, and connected nodes that are not in the fleet. */
async function knownNodes({ roster, connected }: ConnectedNodeRouteDeps): Promise<readonly Target[]> {
  const others = connected.introduced().map(({ introduction: { node, site } }) => ({ node, site }));
  const byName = new Map([...others, ...(await roster.nodes())].map((one) => [one.node, one]));
  return [...byName.values()].toSorted((one, other) => (one.node < other.node ? -1 : 1));
}

/** @throws NearcastError NOT_FOUND for a node or a site that does not exist */
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
