/** Building blocks of the record types' schemas. */
import { Type, type TSchema } from "typebox";
import { strict } from "#base/schema-terms.ts";
import { ownerName } from "./domain-names.ts";

const recordTtl = Type.Optional(
  Type.Integer({ minimum: 0, maximum: 2_147_483_647, unit: "s", description: "default: the zone's ttlSeconds" }),
);

/** The schema of one type: the fields that every record has, and this type's own. */
export const recordSchema = <Kind extends string, Data extends Record<string, TSchema>>(type: Kind, data: Data) =>
  Type.Object({ name: ownerName, type: Type.Literal(type), ttlSeconds: recordTtl, ...data }, strict);

export const uint8 = Type.Integer({ minimum: 0, maximum: 255 });
export const uint16 = Type.Integer({ minimum: 0, maximum: 65_535 });
export const uint8Max = 255;
export const uint16Max = 65_535;
export const uint32Max = 4_294_967_295;

export const hex = (description: string) =>
  Type.String({ pattern: "^(?:[0-9A-Fa-f]{2})*$", maxLength: 8192, description: `${description}, hexadecimal` });
