/**
 * OPEN (RFC 4271 §4.2) with capabilities (RFC 5492):
 *
 *   version | AS, 2 octets | hold time | BGP identifier | length | parameter 2: capability, capability, …
 *
 * We announce: IPv4 and IPv6 unicast (RFC 4760), route refresh (RFC 2918), four-octet AS numbers (RFC 6793). Not
 * graceful restart (RFC 4724): a dead lease must be withdrawn at once, but graceful restart makes BIRD keep its routes.
 */
import type { Family } from "./prefix.ts";
import { BgpError } from "./notification.ts";

export interface Open {
  /** From the four-octet capability if present, otherwise the two-octet field. */
  readonly as: number;
  readonly holdSeconds: number;
  /** The BGP identifier as a number, 127.0.0.2 is 0x7f000002. */
  readonly identifier: number;
  /** Unicast families; without any multiprotocol capability it is IPv4 alone (RFC 4760 §8). */
  readonly families: readonly Family[];
  readonly hasRouteRefresh: boolean;
  /** AS numbers in AS_PATH have four octets. */
  readonly isFourOctetAs: boolean;
}

const version = 4;
/** The value of the two-octet field for an AS number that does not fit (RFC 6793 §9). */
const asTrans = 23_456;
const fixedBytes = 10;
const capabilitiesParameter = 2;
const capabilityCodes = { multiprotocol: 1, routeRefresh: 2, fourOctetAs: 65 } as const;

/** Address family identifiers (IANA), and the only subsequent identifier that we support: unicast. */
export const afiOf = { 4: 1, 6: 2 } as const;
export const safiUnicast = 1;

export function familyOf(afi: number, safi: number): Family | undefined {
  if (safi !== safiUnicast) return undefined;
  return afi === afiOf[4] ? 4 : afi === afiOf[6] ? 6 : undefined;
}

/** The body of an OPEN. */
export function writeOpen(open: Open): Uint8Array {
  const { as, holdSeconds, identifier, families, hasRouteRefresh, isFourOctetAs } = open;
  const capabilities = [
    ...families.map((family) => [capabilityCodes.multiprotocol, 4, 0, afiOf[family], 0, safiUnicast]),
    ...(hasRouteRefresh ? [[capabilityCodes.routeRefresh, 0]] : []),
    ...(isFourOctetAs
      ? [[capabilityCodes.fourOctetAs, 4, as >>> 24, (as >>> 16) & 255, (as >>> 8) & 255, as & 255]]
      : []),
  ].flat();
  const parameters = capabilities.length === 0 ? [] : [capabilitiesParameter, capabilities.length, ...capabilities];
  const fixed = Buffer.alloc(fixedBytes);
  fixed.writeUInt8(version, 0);
  fixed.writeUInt16BE(as > 0xffff ? asTrans : as, 1);
  fixed.writeUInt16BE(holdSeconds, 3);
  fixed.writeUInt32BE(identifier, 5);
  fixed.writeUInt8(parameters.length, 9);
  return Buffer.concat([fixed, Uint8Array.from(parameters)]);
}

/**
 * @param body at least 10 octets
 * @throws BgpError 2/x when no session is possible, whoever the peer is (RFC 4271 §6.2)
 */
export function readOpen(body: Buffer): Open {
  const said = body.readUInt8(0);
  if (said !== version) {
    throw new BgpError(2, 1, `it speaks version ${said}`, Uint8Array.from([0, version]));
  }
  const holdSeconds = body.readUInt16BE(3);
  if (holdSeconds === 1 || holdSeconds === 2) {
    throw new BgpError(2, 6, `${holdSeconds} s is below 3 s`, body.subarray(3, 5));
  }
  const identifier = body.readUInt32BE(5);
  if (identifier === 0) throw new BgpError(2, 3, "it is 0", body.subarray(5, 9));
  if (body.readUInt8(9) !== body.length - fixedBytes) {
    throw new BgpError(2, 0, "the optional parameters do not fill the message");
  }
  const capabilities = readParameters(body.subarray(fixedBytes));
  const as = capabilities.as ?? body.readUInt16BE(1);
  // RFC 7607: AS 0 is reserved.
  if (as === 0) throw new BgpError(2, 2, "it is AS 0", body.subarray(1, 3));
  return {
    as,
    holdSeconds,
    identifier,
    families: capabilities.hasMultiprotocol ? [...capabilities.families] : [4],
    hasRouteRefresh: capabilities.hasRouteRefresh,
    isFourOctetAs: capabilities.as !== undefined,
  };
}

interface Capabilities {
  as: number | undefined;
  hasMultiprotocol: boolean;
  readonly families: Set<Family>;
  hasRouteRefresh: boolean;
}

function readParameters(bytes: Buffer): Capabilities {
  const found: Capabilities = { as: undefined, hasMultiprotocol: false, families: new Set(), hasRouteRefresh: false };
  for (const { kind, value } of readFields(bytes)) {
    if (kind !== capabilitiesParameter) throw new BgpError(2, 4, `parameter ${kind}`, Uint8Array.from([kind]));
    for (const capability of readFields(value)) readCapability(capability, found);
  }
  return found;
}

function readCapability({ kind, value }: Field, found: Capabilities): void {
  switch (kind) {
    case capabilityCodes.multiprotocol: {
      if (value.length !== 4) throw new BgpError(2, 0, "a multiprotocol capability is not 4 octets long");
      found.hasMultiprotocol = true;
      const family = familyOf(value.readUInt16BE(0), value.readUInt8(3));
      if (family !== undefined) found.families.add(family);
      return;
    }
    case capabilityCodes.routeRefresh:
      found.hasRouteRefresh = true;
      return;
    case capabilityCodes.fourOctetAs:
      if (value.length !== 4) throw new BgpError(2, 0, "a four-octet AS capability is not 4 octets long");
      found.as = value.readUInt32BE(0);
      return;
    default: // Unknown capabilities are ignored (RFC 5492 §3).
  }
}

interface Field {
  readonly kind: number;
  readonly value: Buffer;
}

/** Parameters and capabilities have the same format: kind, length, value. */
function* readFields(bytes: Buffer): Generator<Field> {
  for (let at = 0; at < bytes.length;) {
    const end = at + 2 + (bytes[at + 1] ?? 0);
    if (at + 2 > bytes.length || end > bytes.length) throw new BgpError(2, 0, "a parameter or capability is cut off");
    yield { kind: bytes[at] ?? 0, value: bytes.subarray(at + 2, end) };
    at = end;
  }
}
