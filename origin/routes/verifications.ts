/** Verifies the stored blobs step by step; changes nothing. */
import { Type } from "typebox";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { apiPath, type App } from "../http/app-type.ts";
import type { Verifier } from "../store/verify-blobs.ts";

const amount = Type.Object({ count: Type.Integer(), sizeBytes: Type.Integer() });

const verifyQuery = Type.Object(
  {
    after: Type.Optional(
      Type.String({
        pattern: "^[0-9a-f]{64}$",
        description: "cursor of the previous step; absent: from the start",
      }),
    ),
    totals: Type.Optional(Type.Boolean({ description: "also count what is left to verify" })),
  },
  { additionalProperties: false },
);

const verifyAnswer = Type.Object({
  checked: amount,
  faults: Type.Array(
    Type.Object({
      sha256: Type.String(),
      fault: Type.Union([Type.Literal("missing"), Type.Literal("damaged")]),
      detail: Type.String(),
      uses: Type.Array(
        Type.Object({
          name: Type.String(),
          version: Type.Integer(),
          isCurrent: Type.Boolean({ description: "this is the current version of the name" }),
        }),
        { description: "versions with these bytes, the first 20" },
      ),
    }),
  ),
  totals: Type.Optional(amount),
  cursor: Type.Optional(Type.String({ description: "for the next step; absent after the last" })),
});

export function addVerifyRoute(app: App, deps: { verifier: Verifier; catalogue: Pick<Catalogue, "blobTotals"> }): void {
  app.get(
    `${apiPath}/verifications`,
    {
      config: { access: "writer" },
      schema: {
        summary: "Verify some stored blobs against their hashes; repeat with the cursor",
        tags: ["images"],
        querystring: verifyQuery,
        response: { 200: verifyAnswer },
      },
    },
    async ({ query }, reply) => {
      const { after = "" } = query;
      const gone = new AbortController();
      reply.raw.once("close", () => {
        gone.abort();
      });
      const totals = query.totals === true ? await deps.catalogue.blobTotals(after) : undefined;
      const { checked, faults, cursor } = await deps.verifier.step(after, gone.signal);
      void reply.header("cache-control", "no-store");
      return {
        checked,
        faults: faults.map(({ uses, ...fault }) => ({ ...fault, uses: [...uses] })),
        ...(totals === undefined ? {} : { totals }),
        ...(cursor === undefined ? {} : { cursor }),
      };
    },
  );
}
