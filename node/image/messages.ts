/**
 * What the pool and a decoder process say to each other, and the schemas by which the pool believes it.
 *
 *   pool                                   decoder
 *     │ ◀──────────────────────────── ready │  once, sandboxed or not
 *     │ job + source ──────────────────────▶ │
 *     │ ◀──────────────────────────── taken │  before the first byte of the source is looked at
 *     │ ◀───── facts | picture + body | failed │
 */
import { check } from "#base/schema.ts";
import assert from "node:assert/strict";
import { Type, type Static } from "typebox";
import { pictureTypes, scansMax } from "#base/picture-facts.ts";
import { fits, orderFormats } from "./picture.ts";
import { pictureFailureCodes } from "./picture-failure.ts";

/** Headers are a few hundred bytes; only an error's text has no size of its own, and the decoder cuts it. */
export const headerBytesMax = 16 * 1024;

const strict = { additionalProperties: false } as const;
function oneOf<const Word extends string>(words: readonly Word[]) {
  return Type.Unsafe<Word>({ type: "string", enum: words });
}

const id = Type.Integer({ minimum: 0 });
const side = Type.Integer({ minimum: 1, maximum: 1_000_000 });
const type = oneOf(pictureTypes);

const order = Type.Object(
  {
    widthPx: Type.Optional(side),
    widthFraction: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
    heightPx: Type.Optional(side),
    heightFraction: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
    fit: oneOf(fits),
    quality: Type.Integer({ minimum: 1, maximum: 100 }),
    format: oneOf(orderFormats),
    insteadOfAvif: Type.Optional(oneOf(["webp", "compatible"])),
    background: Type.Optional(Type.String({ pattern: "^[0-9a-f]{8}$" })),
    enlargementMax: Type.Optional(Type.Number({ minimum: 1 })),
    outputPixelsMax: Type.Optional(Type.Integer({ minimum: 1 })),
  },
  strict,
);

const job = Type.Object(
  {
    id,
    kind: oneOf(["inspect", "measure", "render"]),
    /** What to render. */
    order: Type.Optional(order),
    pixelsMax: Type.Integer({ minimum: 1 }),
    timeoutSeconds: Type.Integer({ minimum: 1 }),
  },
  strict,
);
export type Job = Static<typeof job>;

const reply = Type.Union([
  Type.Object({ outcome: Type.Literal("taken"), id }, strict),
  Type.Object(
    {
      outcome: Type.Literal("facts"),
      id,
      type,
      width: side,
      height: side,
      frames: Type.Integer({ minimum: 1, maximum: 10_000_000 }),
      hasAlpha: Type.Boolean(),
      scans: Type.Integer({ minimum: 1, maximum: scansMax }),
    },
    strict,
  ),
  Type.Object({ outcome: Type.Literal("picture"), id, type, width: side, height: side }, strict),
  Type.Object(
    {
      outcome: Type.Literal("failed"),
      id,
      code: oneOf(pictureFailureCodes),
      detail: Type.String({ maxLength: 500 }),
    },
    strict,
  ),
  Type.Object(
    {
      outcome: Type.Literal("ready"),
      sandbox: oneOf(["seccomp", "none", "broken"]),
      reason: Type.String({ maxLength: 500 }),
    },
    strict,
  ),
]);
export type Reply = Static<typeof reply>;

/** A reply that is what it claims to be, or undefined: then the decoder is not to be trusted any more. */
export function readReply(header: unknown): Reply | undefined {
  const checked = check(reply, header);
  return checked.ok ? checked.value : undefined;
}

/** A job as the pool wrote it. Checked like a reply, so that a slip in the pool shows as what it is. */
export function readJob(header: unknown): Job {
  const checked = check(job, header);
  assert(checked.ok, "the pool wrote a job that is none");
  return checked.value;
}
