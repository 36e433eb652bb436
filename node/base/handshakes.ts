/**
 * Bounds the connections that have not proved the secret yet, and picks the one to close for a new one. Pure except for
 * its set.
 *
 * The sender that causes the excess pays. An address with too many connections loses its oldest; when there are too
 * many in total, the address with the most loses its oldest. A real handshake takes a few round trips, so an old one is
 * idle: new connections get their turn, even from the address of a flood.
 */
export interface HandshakeLimits {
  /** In all. */
  handshakes: number;
  /** From one address. */
  handshakesPerAddress: number;
}

export interface Handshakes<Connection> {
  /** Adds a new connection, and returns the one that must be closed for it, if any. */
  begin: (connection: Connection, address: string) => Connection | undefined;
  /** The connection has proven itself, or is closed. */
  end: (connection: Connection) => void;
  all: () => Iterable<Connection>;
  size: () => number;
}

export function createHandshakes<Connection>(limits: HandshakeLimits): Handshakes<Connection> {
  const addressOf = new Map<Connection, string>();
  /** Each address's connections, the oldest first. */
  const byAddress = new Map<string, Set<Connection>>();

  function end(connection: Connection): void {
    const address = addressOf.get(connection);
    if (address === undefined) return;
    addressOf.delete(connection);
    const those = byAddress.get(address);
    those?.delete(connection);
    if (those?.size === 0) byAddress.delete(address);
  }

  function largest(): Set<Connection> {
    let most = new Set<Connection>();
    for (const those of byAddress.values()) if (those.size > most.size) most = those;
    return most;
  }

  return {
    begin(connection, address) {
      const those = byAddress.get(address) ?? new Set();
      byAddress.set(address, those.add(connection));
      addressOf.set(connection, address);
      const crowded =
        those.size > limits.handshakesPerAddress
          ? those
          : addressOf.size > limits.handshakes
            ? largest()
            : new Set<Connection>();
      const [oldest] = crowded;
      if (oldest !== undefined) end(oldest);
      return oldest;
    },
    end,
    all: () => addressOf.keys(),
    size: () => addressOf.size,
  };
}
