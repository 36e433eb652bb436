/**
 * Decides who may follow the feed when it is full, or when one address takes more than its share; pure.
 *
 *   of one address      subscribersPerAddressMax in all, a quarter of them unproven
 *   with one token      three quarters of all seats unproven
 *   in all              subscribersMax
 *
 * A subscriber is unproven until it introduces itself (channel/): each one is at first, and edges of release 0.1.0 stay
 * so. Past a bound, the oldest unproven one within that bound gives way, never the newest: a new node needs a moment to
 * prove itself. A proven subscriber keeps its seat while there is any other candidate.
 *
 * Whoever knows the fleet secret can prove any identity: another name each time, or one name many times. So each
 * process of a node of the fleet has one seat that nobody can take. If no unproven subscriber is left, others give way:
 * names that are not in the fleet, and of two with the same name the older one (its node has reconnected, or somebody
 * else used its name). Only if all seats are of that kind is the newest refused.
 */
/** The proven identity of a subscriber. */
export interface ProvenAs {
  readonly node: string;
  readonly process: number;
}

export interface Guest {
  /** One IPv4 address, or the /64 of an IPv6 one. */
  readonly network: string;
  readonly tokenId: string;
  readonly provenAs: () => ProvenAs | undefined;
}

export interface SeatLimits {
  readonly subscribersMax: number;
  readonly subscribersPerAddressMax: number;
}

/**
 * @param seated the oldest first
 * @returns the subscriber that must give way to the newcomer, if any; "full" when nobody can
 */
export function whoGivesWay<One extends Guest>(
  seated: readonly One[],
  newcomer: Guest,
  { subscribersMax, subscribersPerAddressMax }: SeatLimits,
): One | undefined | "full" {
  const unproven = seated.filter(({ provenAs }) => provenAs() === undefined);
  const ofNetwork = unproven.filter(({ network }) => network === newcomer.network);
  const allOfNetwork = seated.filter(({ network }) => network === newcomer.network);
  if (allOfNetwork.length >= subscribersPerAddressMax) return ofNetwork[0] ?? "full";
  if (ofNetwork.length >= Math.ceil(subscribersPerAddressMax / 4)) return ofNetwork[0];
  const ofToken = unproven.filter(({ tokenId }) => tokenId === newcomer.tokenId);
  if (ofToken.length >= Math.ceil((subscribersMax * 3) / 4)) return oldestOfMost(ofToken);
  return seated.length >= subscribersMax ? (oldestOfMost(unproven) ?? "full") : undefined;
}

/**
 * When whoGivesWay() found nobody: a subscriber whose seat no node of the fleet needs.
 * @param seated the oldest first
 * @param members names of the nodes of the fleet
 */
export function whoseSeatIsSpare<One extends Guest>(
  seated: readonly One[],
  newcomer: Guest,
  { subscribersPerAddressMax }: SeatLimits,
  members: ReadonlySet<string>,
): One | "full" {
  const taken = new Set<string>();
  const spare: One[] = [];
  for (const one of seated.toReversed()) {
    const as = one.provenAs();
    const seat = as === undefined || !members.has(as.node) ? undefined : `${as.node} ${as.process}`;
    if (seat === undefined || taken.has(seat)) spare.unshift(one);
    else taken.add(seat);
  }
  const ofNetwork = ({ network }: Guest): boolean => network === newcomer.network;
  const isCrowded = seated.filter(ofNetwork).length >= subscribersPerAddressMax;
  return oldestOfMost(isCrowded ? spare.filter(ofNetwork) : spare) ?? "full";
}

/** The oldest subscriber of the network that has the most. */
function oldestOfMost<One extends Guest>(guests: readonly One[]): One | undefined {
  const byNetwork = [...Map.groupBy(guests, ({ network }) => network).values()];
  return byNetwork.reduce((most, some) => (some.length > most.length ? some : most), [])[0];
}
