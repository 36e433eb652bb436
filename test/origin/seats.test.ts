import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { type Guest, whoGivesWay } from "../../origin/feed/seats.ts";

interface Named extends Guest {
  name: string;
}

/** `a1` follows from network a; `a1!` has proven itself; `a1@t` has the token t. */
const guest = (text: string): Named => {
  const [name = "", tokenId = "token"] = text.split("@");
  return { name: name.replace("!", ""), network: name[0] ?? "", tokenId, isProven: () => name.endsWith("!") };
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
