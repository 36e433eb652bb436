/** An origin that speaks the edge's part of the API for sources, from a table that the test changes. */
import { createHash } from "node:crypto";
import type { TestContext } from "node:test";
import { type AskedRequest, type LoopbackOrigin, startLoopbackOrigin } from "./loopback-origin.ts";

export interface PictureOrigin {
  url: string;
  loopback: LoopbackOrigin;
  /** What each name means; a number is a status without bytes. */
  names: Map<string, Buffer | number>;
  /** Awaited before each answer. */
  delay: (wait: ((request: AskedRequest) => Promise<void>) | null) => void;
  /** Every answer is this status, until null. */
  fail: (status: number | null) => void;
  /** Questions about sources, and those of them that were answered with bytes. */
  counts: () => { questions: number; bodies: number };
}

export function sha256Of(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export async function startPictureOrigin(t: TestContext): Promise<PictureOrigin> {
  const names = new Map<string, Buffer | number>();
  let wait: ((request: AskedRequest) => Promise<void>) | null = null;
  let failure: number | null = null;
  const counts = { questions: 0, bodies: 0 };
  const loopback = await startLoopbackOrigin(t, async (request, response) => {
    counts.questions += 1;
    const meaning = names.get(decodeURIComponent(request.target.replace("/api/v1/images/", "")));
    if (wait !== null) await wait(request);
    if (failure !== null) {
      response.writeHead(failure).end();
      return;
    }
    if (meaning === undefined || typeof meaning === "number") {
      response.writeHead(meaning ?? 404, { "content-type": "application/problem+json" }).end("{}");
      return;
    }
    const etag = `"${sha256Of(meaning)}"`;
    if (request.headers["if-none-match"]?.includes(etag) === true) {
      response.writeHead(304, { etag }).end();
      return;
    }
    counts.bodies += 1;
    response.writeHead(200, { etag, "content-length": meaning.length }).end(meaning);
  });
  return {
    url: loopback.url,
    loopback,
    names,
    delay(next) {
      wait = next;
    },
    fail(status) {
      failure = status;
    },
    counts: () => ({ ...counts }),
  };
}
