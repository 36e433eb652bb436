/** Finds the nodes that the origin would refuse if the older edge tokens expired now. */
import { check } from "#base/schema.ts";
import { Type } from "typebox";
import { askOverOrigin, readTokens, type RelayedAnswer } from "./origin-answers.ts";
import type { OriginClient } from "./origin-client.ts";

export interface LateNode {
  readonly name: string;
  /** The text after the node's name in a sentence. */
  readonly why: string;
}

const statusSchema = Type.Object({ originToken: Type.Object({ id: Type.String() }) });

/** Nodes of the document and of the roster, by name; none when no older token is accepted. */
export async function nodesWithoutToken(client: OriginClient): Promise<LateNode[]> {
  const tokens = (await readTokens(client)).filter(({ kind }) => kind === "edge");
  const current = tokens.find((token) => token.current)?.id;
  if (tokens.every((token) => token.current)) return [];
  const late = new Map<string, string>();
  for (const answer of await askOverOrigin(client, { question: { kind: "status" } })) {
    const why = whyLate(answer, current);
    if (why !== undefined) late.set(answer.node, why);
  }
  return [...late].map(([name, why]) => ({ name, why })).toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

/** Undefined: the node has the token, or it is connected and does not report which one it has. */
function whyLate({ outcome, body }: RelayedAnswer, current: string | undefined): string | undefined {
  if (outcome === "away") return "is not connected to the origin and may not have the new edge token";
  const status = outcome === "answered" ? check(statusSchema, body) : undefined;
  if (status?.ok !== true || status.value.originToken.id === current) return undefined;
  return `still uses the edge token ${status.value.originToken.id}`;
}
