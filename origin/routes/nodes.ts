/** The roster: edges read it and register themselves; a writer drains and removes nodes. */
import { Type } from "typebox";
import type { Log } from "#base/log.ts";
import { rosterNodeSchema, rosterSchema } from "#document/roster.ts";
import type { FeedHub } from "../feed/hub.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { actorOf } from "../http/write-request.ts";
import type { RosterKeeper } from "../roster/roster-changes.ts";

const { name: nodeName, ...placeOfNode } = rosterNodeSchema.properties;
const nodePath = Type.Object({ name: nodeName });

/** A node with every possible entry takes 2 KiB. */
const registrationBytesMax = 16 * 1024;
const registration = Type.Object({ name: Type.Optional(nodeName), ...placeOfNode }, { additionalProperties: false });

const revision = Type.Integer({ description: "revision of the roster" });
const joined = Type.Object({
  node: rosterNodeSchema,
  revision,
  unchanged: Type.Boolean({ description: "the node was already registered with these values" }),
});
const removed = Type.Object({ name: nodeName, revision });
const drained = Type.Object({
  name: nodeName,
  draining: Type.Boolean(),
  revision,
  unchanged: Type.Boolean({ description: "nothing had to be changed" }),
});

export interface NodeRouteDeps {
  readonly roster: RosterKeeper;
  readonly feed: FeedHub;
  readonly log: Log;
}

export function addNodeRoutes(app: App, { roster, feed, log }: NodeRouteDeps): void {
  app.get(
    `${apiPath}/nodes`,
    {
      config: { access: "edge" },
      schema: {
        summary: "Get the roster: nodes that joined, and nodes that are drained",
        tags: ["nodes"],
        response: { 200: rosterSchema },
      },
    },
    async (_request, reply) => {
      void reply.header("cache-control", "no-cache");
      return await roster.roster();
    },
  );

  app.post(
    `${apiPath}/nodes`,
    {
      bodyLimit: registrationBytesMax,
      config: { access: "edge" },
      schema: {
        summary: "Register a node; without a name, it gets the next free one of its site",
        tags: ["nodes"],
        body: registration,
        response: { 200: joined, 201: joined },
      },
    },
    async (request, reply) => {
      const { node, revision: now, isNew } = await roster.join(request.body, actorOf(request));
      if (isNew) {
        feed.wake();
        log.info({ node, revision: now }, "node joined");
      }
      void reply.code(isNew ? 201 : 200);
      return { node, revision: now, unchanged: !isNew };
    },
  );

  app.delete(
    `${apiPath}/nodes/:name`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Remove a node that joined; drain it first, so that no client still has its address",
        tags: ["nodes"],
        params: nodePath,
        response: { 200: removed },
      },
    },
    async (request) => {
      const actor = actorOf(request);
      const { name } = request.params;
      const { revision: now } = await roster.remove(name, actor);
      feed.wake();
      log.info({ name, revision: now, author: actor.author }, "node removed");
      return { name, revision: now };
    },
  );

  for (const [method, draining, summary] of [
    ["PUT", true, "Drain a node, of the roster or of the fleet document: it gets no new clients"],
    ["DELETE", false, "Let a drained node have clients again"],
  ] as const) {
    app.route({
      method,
      url: `${apiPath}/nodes/:name/draining`,
      config: { access: "writer" },
      schema: { summary, tags: ["nodes"], params: nodePath, response: { 200: drained } },
      handler: async (request) => {
        const actor = actorOf(request);
        const { name } = request.params;
        const { revision: now, unchanged } = await roster.setDraining(name, draining, actor);
        if (!unchanged) {
          feed.wake();
          log.info(
            { name, draining, revision: now, author: actor.author },
            draining ? "node drained" : "node undrained",
          );
        }
        return { name, draining, revision: now, unchanged };
      },
    });
  }
}
