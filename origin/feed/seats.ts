/**
 * Who may follow the feed when it is full, or when one address takes more than its share; pure.
 *
 *   of one address      subscribersPerAddressMax in all, a quarter of them unproven
 *   with one token      three quarters of all seats unproven
 *   in all              subscribersMax
 *
 * A subscriber is unproven until it introduces itself (channel/): each one is at first, and edges of release 0.1.0 stay
 * so. Past a bound the oldest unproven one under that bound gives way, never the newest: a node that comes needs a
 * moment to prove itself. Who is proven keeps the seat. Only where nobody unproven is left is the newest refused.
 */
export interface Guest {
  /** One IPv4 address, or the /64 of an IPv6 one. */
  readonly network: string;
  readonly tokenId: string;
  readonly isProven: () => boolean;
}

export interface SeatLimits {
  readonly subscribersMax: number;
  readonly subscribersPerAddressMax: number;
}

/**
 * @param seated the oldest first
 * @returns who has to give way to the newcomer: none, or one; "full" when nobody can
 */
export function whoGivesWay<One extends Guest>(
  seated: readonly One[],
  newcomer: Guest,
  { subscribersMax, subscribersPerAddressMax }: SeatLimits,
): One | undefined | "full" {
  const unproven = seated.filter(({ isProven }) => !isProven());
  const ofNetwork = unproven.filter(({ network }) => network === newcomer.network);
  const allOfNetwork = seated.filter(({ network }) => network === newcomer.network);
  if (allOfNetwork.length >= subscribersPerAddressMax) return ofNetwork[0] ?? "full";
  if (ofNetwork.length >= Math.ceil(subscribersPerAddressMax / 4)) return ofNetwork[0];
  const ofToken = unproven.filter(({ tokenId }) => tokenId === newcomer.tokenId);
  if (ofToken.length >= Math.ceil((subscribersMax * 3) / 4)) return oldestOfMost(ofToken);
  return seated.length >= subscribersMax ? (oldestOfMost(unproven) ?? "full") : undefined;
}

/** The oldest of the network that has the most. */
function oldestOfMost<One extends Guest>(guests: readonly One[]): One | undefined {
  const byNetwork = [...Map.groupBy(guests, ({ network }) => network).values()];
  return byNetwork.reduce((most, some) => (some.length > most.length ? some : most), [])[0];
}
