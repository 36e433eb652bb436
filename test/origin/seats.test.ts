import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { type Guest, whoGivesWay, whoseSeatIsSpare } from "../../origin/feed/seats.ts";

interface Named extends Guest {
  name: string;
}

/** `a1` follows from network a; `a1!` has proven itself, `a1!fra1` as the node fra1; `a1@t` has the token t. */
const guest = (text: string): Named => {
  const [name = "", tokenId = "token"] = text.split("@");
  const [short = "", node] = name.split("!");
  const proven = node === undefined ? undefined : { node: node === "" ? short : node, process: 0 };
  return { name: short, network: name[0] ?? "", tokenId, provenAs: () => proven };
};

const limits = { subscribersMax: 8, subscribersPerAddressMax: 4 };

test("whoever takes too many seats gives way himself, the oldest unproven first; the proven keep theirs", () => {
  const cases: [seated: string, newcomer: string, givesWay: string | undefined, why: string][] = [
    ["", "a1", undefined, "there is room"],
    ["a1!", "a2", undefined, "proven ones are no part of the unproven's share"],
    ["b1 a1 b2! c1", "a2", "a1", "a quarter of an address's seats is for unproven ones"],
    ["a1! a2! a3! a4", "a5", "a4", "the address has all its seats: its own unproven one gives way"],
    ["a1! a2! a3! a4!", "a5", "full", "the address has all its seats, all proven"],
    ["a1! a2! a3! a4!", "b1", undefined, "another address does not suffer"],
    ["a1 b1 c1 d1 e1 f1", "g1", "a1", "three quarters of all seats are for unproven ones with one token"],
    ["a1@old b1@old c1@old d1@old e1@old f1@old", "g1@new", undefined, "another token has its own"],
    ["a1! a2! b1! b2! c1! d1@x d2@y e1", "f1", "d1", "all seats are taken: the address with the most unproven pays"],
    ["a1! a2! b1! b2! c1! c2! d1! d2!", "e1", "full", "all seats are taken by proven nodes"],
  ];
  for (const [seated, newcomer, givesWay, why] of cases) {
    const guests = seated.split(" ").filter(Boolean).map(guest);
    const found = whoGivesWay(guests, guest(newcomer), limits);
    equal(typeof found === "object" ? found.name : found, givesWay, why);
  }
});

test("a flood from one address never costs another address a seat", () => {
  const seated = ["b1", "b2!", "c1"].map(guest);
  const lost = new Set<string>();
  for (let at = 0; at < 1000; at += 1) {
    const newcomer = guest(`a${at}`);
    const gone = whoGivesWay(seated, newcomer, { subscribersMax: 100, subscribersPerAddressMax: 40 });
    if (typeof gone === "object") {
      lost.add(gone.network);
      seated.splice(seated.indexOf(gone), 1);
    }
    if (gone !== "full") seated.push(newcomer);
  }
  deepEqual([...lost], ["a"]);
  equal(seated.length, 3 + 10);
});

test("where all are proven, a name that is not in the fleet gives way, and of two with one name the older", () => {
  const members = new Set(["fra1", "fra2", "nyc1"]);
  const cases: [seated: string, newcomer: string, givesWay: string, why: string][] = [
    ["a1!fra1 a2!made-up b1!fra2", "c1", "a2", "no node of the fleet"],
    ["a1!fra1 b1!fra1 c1!fra2", "d1", "a1", "fra1 came back: its older connection goes"],
    ["a1!fra1 b1!fra2 c1!nyc1", "d1", "full", "each is the one seat of a node of the fleet"],
    ["a1!x a2!y b1!fra1 b2!x b3!y b4!z", "c1", "b2", "the address with the most spare seats pays"],
    ["a1!fra1 a2!fra2 a3!nyc1 a4!fra1 b1!x", "a5", "a1", "a full address pays itself"],
    ["a1!fra1 a2!fra2 a3!nyc1 a4!@t b1!x", "a5", "a4", "a made-up name of the full address"],
  ];
  for (const [seated, newcomer, givesWay, why] of cases) {
    const found = whoseSeatIsSpare(seated.split(" ").map(guest), guest(newcomer), limits, members);
    equal(typeof found === "object" ? found.name : found, givesWay, why);
  }
});

test("four addresses with 256 proven feeds each do not keep the fleet's nodes out", () => {
  const members = new Set(["fra1", "nyc1"]);
  const bounds = { subscribersMax: 1000, subscribersPerAddressMax: 256 };
  const seated: Named[] = [];
  const come = (newcomer: Named): void => {
    const first = whoGivesWay(seated, newcomer, bounds);
    const gone = first === "full" ? whoseSeatIsSpare(seated, newcomer, bounds, members) : first;
    if (typeof gone === "object") seated.splice(seated.indexOf(gone), 1);
    if (gone !== "full") seated.push(newcomer);
  };
  for (let at = 0; at < 1024; at += 1) come(guest(`${"abcd"[at % 4]}${at}!${at % 3 === 0 ? "fra1" : `x${at}`}`));
  equal(seated.length, 1000);
  for (const own of ["e1!fra1", "f1!nyc1"]) come(guest(own));
  for (let at = 0; at < 2000; at += 1) come(guest(`${"abcd"[at % 4]}n${at}!made-up-${at}`));
  const own = seated.filter(({ network }) => network > "d").map(({ name }) => name);
  deepEqual(own, ["e1", "f1"]);
});
