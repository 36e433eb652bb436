/** Bodies read to their end, as a client would. */
import { type Body, streamReader } from "#base/body.ts";
import type { Delivery } from "../../node/deliver/outcome.ts";

export async function wholeBodyOf(body: Body): Promise<Buffer> {
  if (body.kind === "bytes") return body.bytes;
  const reader = body.kind === "stream" ? streamReader(body.stream) : body.open(0, null);
  const chunks: Buffer[] = [];
  try {
    for (;;) {
      await reader.ready();
      const chunk = await reader.next(65_536);
      if (chunk === null) return Buffer.concat(chunks);
      chunks.push(chunk);
    }
  } finally {
    reader.close();
  }
}

/** The same delivery with its body in memory. A fill is stored by the time that this resolves, or a turn later. */
export async function withWholeBody<Given extends Delivery>(delivery: Given): Promise<Given> {
  const bytes = await wholeBodyOf(delivery.body);
  return { ...delivery, body: { kind: "bytes", bytes } };
}
