/**
 * Counts the bytes of requests that have not begun, by client network: incomplete heads, and requests that wait behind
 * a response in progress. When the total is too high, the networks that hold the most lose theirs.
 *
 * 20,000 connections with 96 KB each would be 2 GB.
 */

/** For all connections of a front, or of all lanes: four thousand heads of the largest usual size. */
export const unfinishedBytesMax = 32 * 1024 * 1024;
/** How much is freed then, so that not every further piece leads to a search of the connections. */
const freedShare = 1 / 4;

/** One connection's part. */
export interface Holder {
  readonly network: () => string;
  heldBytes: number;
}

export interface Unfinished {
  readonly bytesMax: number;
  totalBytes: number;
  readonly byNetwork: Map<string, number>;
}

export function createUnfinished(bytesMax = unfinishedBytesMax): Unfinished {
  return { bytesMax, totalBytes: 0, byNetwork: new Map() };
}

/**
 * Sets what a connection holds.
 * @returns the networks whose connections have to be closed, if the total is too high now
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
  return unfinished.totalBytes > unfinished.bytesMax ? greediest(unfinished) : undefined;
}

function greediest({ byNetwork, bytesMax }: Unfinished): ReadonlySet<string> {
  const networks = new Set<string>();
  let bytes = 0;
  for (const [network, held] of [...byNetwork].toSorted(([, a], [, b]) => b - a)) {
    if (bytes >= bytesMax * freedShare) break;
    networks.add(network);
    bytes += held;
  }
  return networks;
}
