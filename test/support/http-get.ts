/** One HTTP request over a connection of its own, and all of its answer. */
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import { connect } from "node:net";

export interface HttpAnswer {
  status: number;
  headers: IncomingHttpHeaders;
  /** Every line of a name, as they came. */
  lines: (name: string) => string[];
  body: Buffer;
  text: string;
  /** False when the connection broke before the body's end. */
  isWhole: boolean;
}

export function httpGet(
  url: string,
  options: { method?: string; headers?: Readonly<Record<string, string | string[]>> } = {},
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(url, {
      method: options.method ?? "GET",
      headers: { ...options.headers },
      agent: false,
    });
    request.once("error", reject);
    request.once("response", (answer) => {
      const chunks: Buffer[] = [];
      answer.on("data", (chunk: Buffer) => chunks.push(chunk));
      answer.on("error", () => undefined); // told by isWhole
      answer.once("close", () => {
        const body = Buffer.concat(chunks);
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          lines: (name) => answer.headersDistinct[name] ?? [],
          body,
          text: body.toString(),
          isWhole: answer.complete,
        });
      });
    });
    request.end();
  });
}

/** Writes bytes to a socket and gives all that comes back until the other side ends, or `timeoutMs` have passed. */
export function rawExchange(
  address: { address: string; port: number },
  bytes: string | Buffer,
  timeoutMs = 5000,
): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket = connect(address.port, address.address, () => socket.write(bytes));
    socket.setTimeout(timeoutMs, () => socket.destroy());
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", () => undefined);
    socket.once("close", () => {
      resolve(Buffer.concat(chunks).toString("latin1"));
    });
  });
}
