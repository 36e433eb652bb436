/** Building blocks for the schemas of the fleet document, including those of records. */
import { Type, type Static, type TSchema } from "typebox";

export const strict = { additionalProperties: false } as const;

export function oneWordOf<const Word extends string>(words: readonly Word[], description: string, fallback?: Word) {
  return Type.Unsafe<Word>({
    type: "string",
    enum: words,
    description,
    ...(fallback === undefined ? {} : { default: fallback }),
  });
}

/** A union with one key as discriminator, so that problems refer to the kind that was meant. */
export function kinds<const Kinds extends TSchema[]>(key: string, members: Kinds) {
  return Type.Unsafe<Static<Kinds[number]>>({
    type: "object",
    discriminator: { propertyName: key },
    required: [key],
    oneOf: members,
  });
}

export const seconds = (description: string, fallback: number, maximum = 31_536_000) =>
  Type.Integer({ minimum: 0, maximum, default: fallback, unit: "s", description });

export const ipAddress = Type.String({ format: "ip", description: "an IPv4 or IPv6 address" });
