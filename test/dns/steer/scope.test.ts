/**
 * Decisions and scopes against brute force. Random worlds, random client networks; for each:
 *
 *   (a) the site is the one that the oracle says,
 *   (b) every address inside the scope gets that site: at each edge of the data inside it, at its ends and between, and
 *       in each network of a draw,
 *   (c) the scope can't be one bit shorter: the block around it holds another outcome, or, where networks draw, one
 *       that draws another site; or the scope is as short as it is ever looked for.
 */
import { seededRandom, type Random } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { anycastSite, compileSteering, decide, noSite, type Decision } from "../../../dns/steer/steering.ts";
import type { Family } from "../../../dns/wire/address.ts";
import { answerOf, keyOf, networkBits, outcomeAt, type Outcome, type Question } from "./oracle.ts";
import { below, oneOf, randomNetwork, randomWorld, scratchAddress } from "./worlds.ts";
import type { World } from "./world.ts";

const checksWanted = 1_000_000;
const checksPerWorld = 400;
const keyEnd = 1n << 64n;

/** By how many bits a drawn scope may be shorter than the network, by the number of sites that draw. */
function searchedBits({ groups }: Outcome): number {
  const sites = groups.flat().length;
  if (sites <= 4) return 4;
  return sites <= 8 ? 2 : 0;
}

const isDraw = ({ groups }: Outcome): boolean => groups.length > 1 || (groups[0]?.length ?? 0) > 1;

/** The outcome of each stretch between two edges. */
interface Map1 {
  readonly edges: readonly bigint[];
  readonly outcomes: readonly Outcome[];
}

function mapOf(question: Question, family: Family): Map1 {
  const edges = question.world.edges(family);
  return { edges, outcomes: edges.map((edge) => outcomeAt(question, family, edge)) };
}

/** Index of the stretch that holds the key. */
function stretchOf({ edges }: Map1, key: bigint): number {
  let low = 0;
  let high = edges.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((edges[middle] ?? 0n) <= key) low = middle;
    else high = middle - 1;
  }
  return low;
}

function siteOf(question: Question, outcome: Outcome, family: Family, key: bigint): number {
  if (question.steered.policy === "anycast") return anycastSite;
  return answerOf(question, outcome, family, key) ?? noSite;
}

function randomKey(random: Random, family: Family, { edges }: Map1): { key: bigint; sourceBits: number } {
  const bitsMax = family === 4 ? 32 : 64;
  if (random() < 0.5) {
    const { address, prefixLength } = randomNetwork(random, family);
    return { key: keyOf(address), sourceBits: prefixLength };
  }
  // At an edge or next to it.
  const step = BigInt(below(random, 3) - 1) << BigInt(64 - bitsMax + below(random, bitsMax));
  const near = BigInt.asUintN(64, oneOf(random, edges) + step);
  const sourceBits = random() < 0.5 ? bitsMax : below(random, bitsMax + 1);
  const shift = BigInt(64 - sourceBits);
  return { key: (near >> shift) << shift, sourceBits };
}

test("a million random decisions and scopes equal brute force", () => {
  const seed = 20_261_121;
  const random = seededRandom(seed);
  let checks = 0;
  const seen = { fixed: 0, drawn: 0, whole: 0, fine: 0, shortDrawn: 0, none: 0 };
  for (let number = 0; checks < checksWanted; number++) {
    const world = randomWorld(random);
    checks += checkWorld(world, random, `SEED=${seed} world ${number}`, seen);
  }
  // Each kind of answer has been met often.
  for (const [kind, count] of Object.entries(seen)) assert.ok(count > 3000, `${kind}: only ${count} of ${checks}`);
});

function checkWorld(world: World, random: Random, where: string, seen: Record<string, number>): number {
  const { fleet, self, states, keptShares, geo } = world;
  const [steered] = fleet.steering;
  assert.ok(steered);
  const steering = compileSteering({ fleet, self, states, keptShares, geo });
  const decision: Decision = { site: 0, scope: 0 };
  const other: Decision = { site: 0, scope: 0 };
  const count = (kind: string): void => {
    seen[kind] = (seen[kind] ?? 0) + 1;
  };
  for (const family of [4, 6] as const) {
    const address = scratchAddress(family);
    for (const asked of [4, 6] as const) {
      const question: Question = { world, steered, asked };
      const map = mapOf(question, family);
      for (let i = 0; i < checksPerWorld / 4; i++) {
        const { key } = randomKey(random, family, map);
        const stretch = stretchOf(map, key);
        const outcome = map.outcomes[stretch];
        assert.ok(outcome);
        decide(steering, 0, asked, address(key), decision);
        const { site, scope } = decision;
        const told = (): string =>
          `${where} v${family} asked ${asked} key ${key.toString(16)} scope ${scope} site ${site} ${outcome.text}`;

        // (a)
        if (site !== siteOf(question, outcome, family, key)) assert.fail(`another site: ${told()}`);

        // (b)
        const bitsMax = family === 4 ? 32 : 64;
        if (scope < 0 || scope > bitsMax) assert.fail(`a scope beyond the address: ${told()}`);
        const [from, end] = blockOf(key, scope);
        for (let at = stretchOf(map, from); at < map.edges.length && (map.edges[at] ?? 0n) < end; at++) {
          const inside = map.outcomes[at];
          if (inside?.text !== outcome.text) assert.fail(`another outcome inside: ${told()} ${inside?.text}`);
        }
        const draws = isDraw(outcome);
        if (draws && scope < networkBits[family] - 4) assert.fail(`a draw for too many networks: ${told()}`);
        const samples = draws && scope < networkBits[family] ? networksIn(from, end, family) : [];
        samples.push(from, end - (1n << BigInt(64 - bitsMax)), between(random, from, end, bitsMax));
        for (const sample of samples) {
          decide(steering, 0, asked, address(sample), other);
          if (other.site !== site || siteOf(question, outcome, family, sample) !== site) {
            assert.fail(`another site inside, at ${sample.toString(16)}: ${told()}`);
          }
          if (!draws && other.scope !== scope) assert.fail(`another scope inside: ${told()}`);
        }

        // (c)
        if (scope > 0) {
          const [wideFrom, wideEnd] = blockOf(key, scope - 1);
          let isOther = false;
          for (let at = stretchOf(map, wideFrom); at < map.edges.length && (map.edges[at] ?? 0n) < wideEnd; at++) {
            isOther ||= map.outcomes[at]?.text !== outcome.text;
          }
          if (!isOther && draws) {
            isOther = scope <= networkBits[family] - searchedBits(outcome);
            isOther ||= networksIn(wideFrom, wideEnd, family).some(
              (network) => siteOf(question, outcome, family, network) !== site,
            );
          }
          if (!isOther) assert.fail(`the scope could be shorter: ${told()}`);
        }

        count(draws ? "drawn" : "fixed");
        if (scope === 0) count("whole");
        if (scope > networkBits[family]) count("fine");
        if (draws && scope < networkBits[family]) count("shortDrawn");
        if (site === noSite) count("none");
      }
    }
  }
  return checksPerWorld;
}

/** First key of the block of this prefix length around `key`, and the first one after it. */
function blockOf(key: bigint, prefixLength: number): [bigint, bigint] {
  const shift = BigInt(64 - prefixLength);
  const from = prefixLength === 0 ? 0n : (key >> shift) << shift;
  return [from, prefixLength === 0 ? keyEnd : from + (1n << shift)];
}

function networksIn(from: bigint, end: bigint, family: Family): bigint[] {
  const step = 1n << BigInt(64 - networkBits[family]);
  const networks: bigint[] = [];
  for (let network = from; network < end; network += step) networks.push(network);
  return networks;
}

function between(random: Random, from: bigint, end: bigint, bitsMax: number): bigint {
  const shift = BigInt(64 - bitsMax);
  const room = Number((end - from) >> shift);
  return from + (BigInt(Math.floor(random() * room)) << shift);
}
