/** The context of a request that no socket brought. */
import type { RequestContext } from "../../node/serve/request-context.ts";

export function testContext(clientNetwork = "192.0.2.0/24", signal = new AbortController().signal): RequestContext {
  return { id: "test", clientNetwork, isWhole: true, signal };
}
