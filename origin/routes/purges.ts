/**
 * Purges: ordering one, and what each node found for it. node/purge/kinds.ts defines how purged objects are selected.
 */
import { Type } from "typebox";
import { NearcastError } from "#base/errors.ts";
import { unheldOf, unheldSchema } from "#purge/purge-report.ts";
import { canonicalSelectors, purgeRequestSchema, type PurgeSelectors } from "#purge/purge-request.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { ConnectedNodes } from "../channel/connections.ts";
import type { PurgeReports } from "../channel/purge-reports.ts";
import type { FeedHub } from "../feed/hub.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { actorOf } from "../http/write-request.ts";
import type { RosterKeeper } from "../roster/roster-changes.ts";

export interface PurgeRouteDeps {
  readonly catalogue: Pick<Catalogue, "purge" | "eventsAfter">;
  readonly feed: FeedHub;
  readonly purgeReports: PurgeReports;
  readonly connected: Pick<ConnectedNodes, "anonymousCount">;
  readonly roster: Pick<RosterKeeper, "nodes">;
}

const purgeAnswer = Type.Object({ seq: Type.Integer({ description: "number of the event in the feed" }) });

const waitQuery = Type.Object(
  {
    waitMs: Type.Integer({
      minimum: 0,
      maximum: 10_000,
      default: 0,
      description: "how long to wait for the nodes",
    }),
  },
  { additionalProperties: false },
);

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
  anonymous: Type.Integer({
    description: "number of subscribers that did not introduce themselves; these do not report",
  }),
  unheld: unheldSchema,
});

export function addPurgeRoutes(app: App, deps: PurgeRouteDeps): void {
  const { catalogue, feed, purgeReports, connected, roster } = deps;
  app.post(
    `${apiPath}/purges`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Purge everything that matches one of the selectors from all edges, or mark it as stale",
        tags: ["images"],
        body: purgeRequestSchema,
        response: { 202: purgeAnswer },
      },
    },
    async (request, reply) => {
      const { soft = false, ...selectors } = request.body;
      const purge = { reason: "purge", ...canonicalSelectors(selectors), soft } as const;
      const seq = await catalogue.purge(purge, actorOf(request));
      purgeReports.open(seq);
      feed.wake();
      void reply.code(202);
      return { seq };
    },
  );

  app.get(
    `${apiPath}/purges/:seq`,
    {
      config: { access: "writer" },
      schema: {
        summary:
          "Get the result of a purge from each node; waits until all connected nodes have reported, at most `waitMs`",
        tags: ["images"],
        params: Type.Object({ seq: Type.String({ pattern: "^\\d{1,15}$" }) }),
        querystring: waitQuery,
        response: { 200: purgeState },
      },
    },
    async (request) => {
      const seq = Number(request.params.seq);
      await purgeReports.settled(seq, request.query.waitMs);
      const state = purgeReports.state(seq);
      if (state === undefined) throw new NearcastError("NOT_FOUND", `event ${seq} is not one of the last purges`);
      const [event] = await catalogue.eventsAfter(seq - 1, 1);
      // Edges of release 0.1.0 purge but do not report: unknown does not mean that nothing was held.
      const isReported = state.nodes.some((node) => node.state === "done");
      const reported = new Set(state.nodes.map(({ node }) => node));
      const away = (await roster.nodes()).filter(({ node }) => !reported.has(node));
      return {
        seq,
        isSettled: state.isSettled,
        nodes: [...state.nodes, ...away.map(({ node, site }) => ({ node, site, state: "away", ...nothing }))],
        anonymous: connected.anonymousCount(),
        // The event was pruned meanwhile: the one after it is another event.
        unheld: unheldOf(isReported && event?.seq === seq ? selectorsIn(event.json) : {}, state.held),
      };
    },
  );
}

const nothing = { memory: { entries: 0, bytes: 0 }, disk: { entries: 0, bytes: 0 }, records: 0, isComplete: true };

function selectorsIn(json: string): PurgeSelectors {
  return JSON.parse(json) as PurgeSelectors;
}
