/**
 * An origin that reads bytes by rules of its own, stricter than those of any server: it keeps every request that it
 * receives, and everything that is none. It responds to each with its target. `/hit` may be stored, and nothing else.
 */
import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import type { TestContext } from "node:test";

export interface ObservingOrigin {
  readonly url: string;
  /** The targets of all requests, oldest first. */
  readonly targets: readonly string[];
  /** Bytes that are no request as an edge has to write it. */
  readonly faults: readonly string[];
}

const head =
  /^(?:GET|HEAD) (\/[!-"$-~]*) HTTP\/1\.1\r\n((?:[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t\x20-\x7e\x80-\xff]*\r\n)+)\r\n/;

export async function startObservingOrigin(t: TestContext): Promise<ObservingOrigin> {
  const targets: string[] = [];
  const faults: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let text = "";
    socket.on("error", () => undefined);
    socket.on("close", () => {
      sockets.delete(socket);
      if (text !== "") faults.push(text);
    });
    socket.on("data", (bytes: Buffer) => {
      text += bytes.toString("latin1");
      const end = text.indexOf("\r\n\r\n");
      if (end === -1) return;
      const target = targetOf(text);
      if (target === undefined) {
        socket.destroy();
        return;
      }
      text = "";
      targets.push(target);
      const isStored = target === "/hit";
      const fields = [`Content-Length: ${target.length}`, `Cache-Control: ${isStored ? "max-age=1000" : "no-store"}`];
      socket.write(["HTTP/1.1 200 OK", ...fields, `Date: ${new Date().toUTCString()}`, "", target].join("\r\n"));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, targets, faults };
}

/** Undefined: the bytes are not one whole request without a body. */
function targetOf(text: string): string | undefined {
  const [whole, target, fields = ""] = head.exec(text) ?? [];
  if (whole !== text) return undefined;
  const names = fields.split("\r\n").map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
  const frames = ["content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect"];
  if (names.filter((name) => name === "host").length !== 1) return undefined;
  return names.some((name) => frames.includes(name)) ? undefined : target;
}
