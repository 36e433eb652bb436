/** The fleet secret: edges read it, a writer rotates it. No cache ever stores these responses. */
import { Type } from "typebox";
import type { Log } from "#base/log.ts";
import { fleetSecretsSchema } from "#secret/fleet-secret.ts";
import type { FeedHub } from "../feed/hub.ts";
import type { FleetSecretKeeper } from "../fleet/fleet-secret-file.ts";
import { apiPath, type App } from "../http/app-type.ts";
import { actorOf } from "../http/write-request.ts";

const rotated = Type.Object({
  id: Type.String({ description: "ID of the new secret, 16 hexadecimal digits; does not reveal the secret" }),
  previousId: Type.String({ description: "ID of the previous secret, which is accepted until the next rotation" }),
  seq: Type.Integer({ description: "number of the event in the feed" }),
});

export interface SecretRouteDeps {
  readonly fleetSecret: FleetSecretKeeper;
  readonly feed: FeedHub;
  readonly log: Log;
}

export function addSecretRoutes(app: App, { fleetSecret, feed, log }: SecretRouteDeps): void {
  app.get(
    `${apiPath}/fleet/secret`,
    {
      // People hold the writer token; the secret that nodes share is not for them.
      config: { access: "edge-only" },
      schema: {
        summary: "Get the fleet secret, and the previous one while it is still accepted",
        tags: ["fleet"],
        response: { 200: fleetSecretsSchema },
      },
    },
    async (_request, reply) => {
      void reply.header("cache-control", "no-store");
      return fleetSecret.secrets();
    },
  );

  app.post(
    `${apiPath}/fleet/secret/rotations`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Create a new fleet secret; the previous one is accepted until the next rotation",
        tags: ["fleet"],
        response: { 201: rotated },
      },
    },
    async (request, reply) => {
      const actor = actorOf(request);
      const { id, previousId, seq } = await fleetSecret.rotate(actor);
      feed.wake();
      log.info({ id, previousId, seq, author: actor.author }, "rotated the fleet secret");
      void reply.code(201).header("cache-control", "no-store");
      return { id, previousId, seq };
    },
  );
}
