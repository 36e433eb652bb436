import assert from "node:assert/strict";
import { test } from "node:test";
import { createRanking, rankOwners } from "../../../node/peer/owners.ts";

const named = (names: readonly string[]): { name: string }[] => names.map((name) => ({ name }));
const nodes = (count: number): { name: string }[] =>
  named(Array.from({ length: count }, (_, index) => `fra${index + 1}`));
/** Names as people give them: alike but for a number at the end or in the midst. */
const keys = Array.from({ length: 50_000 }, (_, index) =>
  index % 2 === 0 ? `shop/${index}.jpg` : `news/2026/11/picture-${index}/large.webp`,
);
const ownersOf = (members: readonly { name: string }[]): (string | undefined)[] => {
  const ranking = createRanking(members);
  return keys.map((key) => ranking.bestFirst(key)()?.name);
};

test("every member owns its part of the keys, within a few per cent", () => {
  const rows: [what: string, members: { name: string }[]][] = [
    ["two nodes", nodes(2)],
    ["three nodes", nodes(3)],
    ["processes of one node", named(["fra1", "fra1.1", "fra1.2", "fra1.3"])],
    ["names of one letter", named(["a", "b", "c", "d", "e"])],
    ["sixteen", nodes(16)],
    ["sixty-four", nodes(64)],
  ];
  for (const [what, members] of rows) {
    const counts = new Map<string, number>();
    for (const owner of ownersOf(members)) counts.set(owner ?? "", (counts.get(owner ?? "") ?? 0) + 1);
    const fair = keys.length / members.length;
    // Chance alone scatters by the root of what is counted: five times that, for 64 members 18 %.
    const allowed = 5 * Math.sqrt(fair);
    assert.equal(counts.size, members.length, what);
    for (const [name, count] of counts) {
      assert.ok(Math.abs(count - fair) < allowed, `${what}: ${name} owns ${count} keys, ${fair} would be fair`);
    }
  }
});

test("a member that leaves moves its own keys and no other, one that comes only takes", () => {
  for (const count of [2, 3, 8, 64]) {
    const before = ownersOf(nodes(count));
    for (const gone of [1, Math.ceil(count / 2), count]) {
      const name = `fra${gone}`;
      const after = ownersOf(nodes(count).filter((node) => node.name !== name));
      const moved = keys.flatMap((_, at) => (before[at] === after[at] ? [] : [before[at]]));
      assert.deepEqual([...new Set(moved)], [name], `of ${count}, without ${name}`);
      assert.ok(moved.length <= keys.length * (1 / count + 0.05), `of ${count}: ${moved.length} keys moved`);
    }
    const grown = ownersOf([...nodes(count), { name: "fra-new" }]);
    const taken = keys.flatMap((_, at) => (before[at] === grown[at] ? [] : [grown[at]]));
    assert.deepEqual([...new Set(taken)], ["fra-new"]);
    assert.ok(taken.length <= keys.length * (1 / (count + 1) + 0.05), `to ${count}: ${taken.length} keys moved`);
  }
});

test("the keys of a member that leaves spread over all others", () => {
  const members = nodes(5);
  const before = ownersOf(members);
  const after = ownersOf(members.slice(1));
  const counts = new Map<string, number>();
  for (const [at, owner] of before.entries()) {
    if (owner === "fra1") counts.set(after[at] ?? "", (counts.get(after[at] ?? "") ?? 0) + 1);
  }
  const fair = keys.length / 5 / 4;
  assert.equal(counts.size, 4);
  for (const count of counts.values()) assert.ok(Math.abs(count - fair) < 5 * Math.sqrt(fair), `${count} of ${fair}`);
});

test("the order is the same on every node, in whatever order it learned the names", () => {
  const members = nodes(7);
  for (const key of keys.slice(0, 500)) {
    const order = rankOwners(key, members).map(({ name }) => name);
    assert.deepEqual(
      rankOwners(key, members.toReversed()).map(({ name }) => name),
      order,
    );
    assert.equal(new Set(order).size, 7, "everyone stands in it once");
    const without = members.filter(({ name }) => name !== order[0]);
    assert.deepEqual(
      rankOwners(key, without).map(({ name }) => name),
      order.slice(1),
      "and those that are left keep their order",
    );
  }
});

test("the order of releases to come must be this one, since nodes are upgraded one by one", () => {
  const order = (key: string): string =>
    rankOwners(key, nodes(4))
      .map(({ name }) => name)
      .join(" ");
  assert.deepEqual(["shop/a.jpg", "", "ä/猫.png"].map(order), [
    "fra1 fra4 fra3 fra2",
    "fra4 fra1 fra3 fra2",
    "fra1 fra4 fra2 fra3",
  ]);
});

test("nobody owns a key where nobody is", () => {
  assert.deepEqual(rankOwners("a.jpg", []), []);
  assert.equal(createRanking([]).bestFirst("a.jpg")(), undefined);
});
