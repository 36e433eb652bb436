/** Building blocks of several sections of the fleet document. */
import { Type } from "typebox";

/** Names of sites, nodes and clouds. */
export const shortName = (description: string) =>
  Type.String({ pattern: "^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$", description });
/** RFC 6793. */
export const autonomousSystem = (description: string) =>
  Type.Integer({ minimum: 1, maximum: 4_294_967_294, description: `${description} (RFC 6793)` });
