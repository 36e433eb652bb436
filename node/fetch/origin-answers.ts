/**
 * What an edge gets from the origin about its fleet: the fleet document, the secret, the roster, the token. Defines the
 * URL of each, and which answers are valid. Pure; origin.ts sends the requests.
 */
import { parseForeignJson } from "#base/foreign-json.ts";
import { check } from "#base/schema.ts";
import { fleetBytesMax } from "#document/read-document.ts";
import { type Roster, rosterNodesMax, rosterSchema } from "#document/roster.ts";
import { type EdgeTokenAnswer, edgeTokenSchema } from "#secret/edge-token.ts";
import { type FleetSecrets, fleetSecretsSchema } from "#secret/fleet-secret.ts";

/** A fleet document in JSON, where each line end, quote and backslash takes two bytes. */
const fleetAnswerBytesMax = 4 * fleetBytesMax;
const secretBytesMax = 4096;
/** A node with one address takes about 150 bytes; one with everything that it may have, ten times as many. */
const rosterBytesMax = rosterNodesMax * 512;

/** A small request to the origin. */
export interface Small<Result> {
  /** What is requested, in words. */
  readonly what: string;
  readonly path: string;
  readonly bytesMax: number;
  /** True: an origin of an earlier release does not have it. */
  readonly isOptional: boolean;
  /** Undefined: the members are invalid. */
  readonly read: (members: Answered) => Result | undefined;
}

type Answered = Readonly<
  Partial<
    Record<
      "version" | "text" | "current" | "previous" | "revision" | "nodes" | "draining" | "id" | "token" | "olderUntil",
      unknown
    >
  >
>;

/** The members, unchecked; none if the bytes are not a JSON object. */
export function parseObject(bytes: Buffer): Answered {
  try {
    return (parseForeignJson(bytes.toString()) as Answered | null) ?? {};
  } catch {
    return {};
  }
}

export const fleetAnswer: Small<{ version: number; text: string }> = {
  what: "the fleet document",
  path: "/fleet",
  bytesMax: fleetAnswerBytesMax,
  isOptional: false,
  read({ version, text }) {
    if (!Number.isSafeInteger(version) || typeof text !== "string") return undefined;
    return { version: version as number, text };
  },
};

export const secretsAnswer: Small<FleetSecrets> = {
  what: "the fleet secret",
  path: "/fleet/secret",
  bytesMax: secretBytesMax,
  isOptional: true,
  read: ({ current, previous }) =>
    valueOf(check(fleetSecretsSchema, { current, ...(previous === undefined ? {} : { previous }) })),
};

export const rosterAnswer: Small<Roster> = {
  what: "the roster",
  path: "/nodes",
  bytesMax: rosterBytesMax,
  isOptional: true,
  // Further members from a later origin are ignored; those that this release needs must be valid.
  read: ({ revision, nodes, draining }) => valueOf(check(rosterSchema, { revision, nodes, draining })),
};

export const tokenAnswer: Small<EdgeTokenAnswer> = {
  what: "the edge token",
  path: "/tokens/edge/current",
  bytesMax: secretBytesMax,
  isOptional: true,
  read: ({ id, token, olderUntil }) =>
    valueOf(
      check(edgeTokenSchema, {
        id,
        ...(token === undefined ? {} : { token }),
        ...(olderUntil === undefined ? {} : { olderUntil }),
      }),
    ),
};

function valueOf<Value>(checked: { ok: true; value: Value } | { ok: false }): Value | undefined {
  return checked.ok ? checked.value : undefined;
}
