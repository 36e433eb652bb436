/**
 * Asks a member for a sign of life: an OPTIONS over a connection of its own, since those of the pool may all be in use.
 *
 * A process that is frozen, or a machine without power, keeps its connections, and nothing ever comes over them. A
 * member that only waits for a slow origin answers at once. One that refuses the connection is no doubt any more: its
 * other connections have ended, too.
 */
import { type buildConnector, Client, type Dispatcher } from "undici";
import type { Clock } from "#base/clock.ts";
import { isSettledWithin } from "#base/settled-within.ts";

/** Connection and answer together. A node that is busy for longer is of no use to those who wait. */
export const signMs = 1500;

/**
 * @param origin of the member
 * @param connect opens a connection to it
 * @returns false: nothing came back in time. Never rejects.
 */
export async function hasSignOfLife(
  origin: string,
  connect: buildConnector.connector,
  headers: Readonly<Record<string, string>>,
  clock: Clock,
): Promise<boolean> {
  const client = new Client(origin, { connect, pipelining: 1, headersTimeout: 0, bodyTimeout: 0 });
  const order: Dispatcher.RequestOptions = { method: "OPTIONS", path: "/", headers };
  const asking = client.request(order).then(({ body }) => body.on("error", () => undefined).destroy());
  const isSettled = await isSettledWithin(clock, asking, signMs);
  await client.destroy().catch(() => undefined);
  return isSettled;
}
