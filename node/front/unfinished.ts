/**
 * Bytes of requests whose heads are not complete, by client network: they are held until the rest comes, or its time is
 * over. When all together are too many, the network that holds the most loses what it holds.
 *
 * 20,000 connections with 96 KB each would be 2 GB.
 */

/** Of all connections of a front: four thousand heads of the largest usual size. */
const bytesMax = 32 * 1024 * 1024;

/** One connection's part. */
export interface Holder {
  readonly network: () => string;
  heldBytes: number;
}

export interface Unfinished {
  totalBytes: number;
  readonly byNetwork: Map<string, number>;
}

export function createUnfinished(): Unfinished {
  return { totalBytes: 0, byNetwork: new Map() };
}

/**
 * Sets what a connection holds.
 * @returns the network whose connections have to go, if the bytes are too many now
 */
export function hold(unfinished: Unfinished, holder: Holder, bytes: number): string | undefined {
  const more = bytes - holder.heldBytes;
  if (more === 0) return undefined;
  const { byNetwork } = unfinished;
  const network = holder.network();
  const held = (byNetwork.get(network) ?? 0) + more;
  if (held === 0) byNetwork.delete(network);
  else byNetwork.set(network, held);
  holder.heldBytes = bytes;
  unfinished.totalBytes += more;
  return unfinished.totalBytes > bytesMax ? greediest(unfinished) : undefined;
}

function greediest({ byNetwork }: Unfinished): string | undefined {
  let most: string | undefined;
  for (const [network, bytes] of byNetwork) if (bytes > (byNetwork.get(most ?? "") ?? 0)) most = network;
  return most;
}
