/**
 * Bytes of requests that have not begun, by client network: their heads are not complete, or they wait behind a response
 * that is under way. When all together are too many, those networks that hold the most lose what they hold.
 *
 * 20,000 connections with 96 KB each would be 2 GB.
 */

/** Of all connections of a front: four thousand heads of the largest usual size. */
const bytesMax = 32 * 1024 * 1024;
/** What goes then, so that the connections are not searched for each piece that comes. */
const freedBytes = bytesMax / 4;

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
 * @returns the networks whose connections have to go, if the bytes are too many now
 */
export function hold(unfinished: Unfinished, holder: Holder, bytes: number): ReadonlySet<string> | undefined {
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

function greediest({ byNetwork }: Unfinished): ReadonlySet<string> {
  const networks = new Set<string>();
  let bytes = 0;
  for (const [network, held] of [...byNetwork].toSorted(([, a], [, b]) => b - a)) {
    if (bytes >= freedBytes) break;
    networks.add(network);
    bytes += held;
  }
  return networks;
}
