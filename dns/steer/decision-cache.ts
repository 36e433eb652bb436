/**
 * Choices remembered by client network, so that a geo look-up (some 2 µs) is made once per network and snapshot.
 *
 * A choice whose scope is at most /24 (IPv6: /48) holds for that whole network and is kept under it, one integer as
 * key. A finer one is kept under the whole address, and its network is marked, so that nobody takes it for the
 * network's.
 */
import { LRUCache } from "lru-cache";
import type { IpAddress } from "../wire/address.ts";
import { byteAt } from "../wire/bytes.ts";
import type { Choice } from "./choose.ts";
import { networkBits } from "./rendezvous.ts";

export interface DecisionCache {
  /** The remembered choice, or the one that `choose` makes now. */
  get: (client: IpAddress, choose: (client: IpAddress) => Choice) => Choice;
}

const finerInside: Choice = { site: undefined, rule: "order", overrideIndex: -1, scope: 128 };

/** @param entriesMax one entry is some 200 octets with its choice */
export function newDecisionCache(entriesMax: number): DecisionCache {
  const choices = new LRUCache<number | string, Choice>({ max: entriesMax });
  return {
    get(client, choose) {
      const network = networkKey(client);
      const coarse = choices.get(network);
      if (coarse !== undefined && coarse !== finerInside) return coarse;
      if (coarse === undefined) {
        const choice = choose(client);
        if (choice.scope <= networkBits[client.family]) {
          choices.set(network, choice);
          return choice;
        }
        choices.set(network, finerInside);
        choices.set(addressKey(client), choice);
        return choice;
      }
      const key = addressKey(client);
      const fine = choices.get(key);
      if (fine !== undefined) return fine;
      const choice = choose(client);
      choices.set(key, choice);
      return choice;
    },
  };
}

/** IPv4 networks are below 2^24, IPv6 networks from 2^48 on: both are exact in a double. */
function networkKey({ family, bytes }: IpAddress): number {
  const high = (byteAt(bytes, 0) << 16) | (byteAt(bytes, 1) << 8) | byteAt(bytes, 2);
  if (family === 4) return high;
  const low = (byteAt(bytes, 3) << 16) | (byteAt(bytes, 4) << 8) | byteAt(bytes, 5);
  return 2 ** 48 + high * 2 ** 24 + low;
}

function addressKey({ family, bytes }: IpAddress): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, family === 4 ? 4 : 16).toString("latin1");
}
