/** A loopback origin for caches: a few bodies by path, cacheable for a day, with the header fields of nearcast. */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { Lab } from "./lab.ts";

export interface StoredObject {
  type: string;
  body: Buffer;
}

/**
 * Serves `find(path)` until the lab closes; returns host and port.
 *
 * @param options.delayMs from a request to its response
 */
export async function startObjectOrigin(
  lab: Lab,
  find: (path: string) => StoredObject | undefined,
  { delayMs = 0 }: { delayMs?: number } = {},
): Promise<{ host: string; port: number }> {
  const endpoint = { host: lab.address(), port: 8090 };
  const server = createServer((request, response) => {
    const object = find(request.url ?? "");
    if (object === undefined) {
      response.writeHead(404).end();
      return;
    }
    response.writeHead(200, {
      "Content-Type": object.type,
      "Content-Length": object.body.length,
      "Cache-Control": "public, max-age=86400",
      ETag: `"${createHash("sha256").update(object.body).digest("base64url").slice(0, 27)}"`,
      "X-Content-Type-Options": "nosniff",
    });
    if (delayMs === 0) response.end(object.body);
    else setTimeout(() => response.end(object.body), delayMs);
  });
  server.listen(endpoint);
  await once(server, "listening");
  lab.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  return endpoint;
}
