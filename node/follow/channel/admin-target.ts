/** The request target at which a node's admin listener answers a question: path and query. */
import type { NodeQuestion } from "./messages.ts";

/** @param isBrief leave out the node's view of other nodes, which grows with the fleet */
export function adminTargetOf(question: NodeQuestion, isBrief = false): string {
  switch (question.kind) {
    case "status":
      return isBrief ? "/status?brief=true" : "/status";
    case "explain-url":
      return `/explain?${queryOf({ url: question.url, accept: question.accept })}`;
    case "explain-name":
      return `/explain/dns?${queryOf({ name: question.name, type: question.type, ip: question.ip })}`;
  }
}

function queryOf(parameters: Readonly<Record<string, string | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) if (value !== undefined) query.set(name, value);
  return query.toString();
}
