/** A chain of aliases, walked step by step. */
import { aliasesMax } from "#record/zone-names.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import { nameFromText, nameToText } from "../../../dns/wire/name.ts";
import { typeNumberFrom } from "#record/type-numbers.ts";
import {
  followAlias,
  lookUpTarget,
  newAliasChain,
  startChain,
  stepCname,
  stepDname,
  stepMissing,
  stepOf,
  stepRecords,
  stepReferral,
} from "../../../dns/zone/alias-chain.ts";
import { snapshotOf, testFleet, zoneText } from "../support/fleet.ts";

const long = ["l".repeat(60), "m".repeat(60), "n".repeat(60)].join(".");
const { zones: compiled } = snapshotOf({
  fleet: testFleet({
    zones: zoneText(`
      - {name: mail, type: A, address: 192.0.2.25}
      - {name: www, type: CNAME, target: mail}
      - {name: alias, type: CNAME, target: www}
      - {name: "*.wild", type: CNAME, target: mail}
      - {name: away, type: CNAME, target: www.example.net.}
      - {name: dangling, type: CNAME, target: nothing}
      - {name: loop, type: CNAME, target: loop}
      - {name: old, type: DNAME, target: new}
      - {name: mail.new, type: CNAME, target: x.old}
      - {name: grow, type: DNAME, target: ${long}}
      - {name: child, type: NS, target: ns.child}
      - {name: ns.child, type: A, address: 192.0.2.60}
      - {name: into-child, type: CNAME, target: host.child}`),
  }),
}).snapshot;

const stepNames = ["records", "referral", "missing", "cname", "dname", "too long", "ends"] as const;

/** Each step and the name it was taken at. */
function walk(text: string, type = "A"): string[] {
  const name = nameFromText(text);
  const number = typeNumberFrom(type);
  assert.ok(name !== undefined && number !== undefined);
  const chain = newAliasChain();
  startChain(compiled, name, number, chain);
  const steps: string[] = [];
  for (;;) {
    const step = stepOf(compiled, chain.found);
    steps.push(`${stepNames[step]} ${nameToText(chain.owner)}`);
    if (step !== stepCname && step !== stepDname) return steps;
    if (!followAlias(compiled, chain)) return [...steps, "too long"];
    if (!lookUpTarget(compiled, number, chain)) return [...steps, `ends ${nameToText(chain.owner)}`];
  }
}

test("the steps' numbers are those of their names", () => {
  assert.deepEqual([stepRecords, stepReferral, stepMissing, stepCname, stepDname], [0, 1, 2, 3, 4]);
});

test("a chain is walked to records, to nothing, into a delegation", () => {
  assert.deepEqual(walk("mail.cdn.test"), ["records mail.cdn.test"]);
  assert.deepEqual(walk("alias.cdn.test"), ["cname alias.cdn.test", "cname www.cdn.test", "records mail.cdn.test"]);
  assert.deepEqual(walk("x.wild.cdn.test"), ["cname x.wild.cdn.test", "records mail.cdn.test"]);
  assert.deepEqual(walk("dangling.cdn.test"), ["cname dangling.cdn.test", "missing nothing.cdn.test"]);
  assert.deepEqual(walk("into-child.cdn.test"), ["cname into-child.cdn.test", "referral host.child.cdn.test"]);
});

test("a DNAME replaces the end of the name, and twice in one chain as well", () => {
  assert.deepEqual(walk("mail.old.cdn.test"), [
    "dname mail.old.cdn.test",
    "cname mail.new.cdn.test",
    "dname x.old.cdn.test",
    "missing x.new.cdn.test",
  ]);
  const tooLong = `${"x".repeat(60)}.yy.grow.cdn.test`;
  assert.deepEqual(walk(tooLong), [`dname ${tooLong}`, "too long"]);
});

test("it ends at an alias that is asked for, that leaves the zone, or after twelve", () => {
  assert.deepEqual(walk("alias.cdn.test", "CNAME"), ["cname alias.cdn.test", "ends www.cdn.test"]);
  assert.deepEqual(walk("away.cdn.test"), ["cname away.cdn.test", "ends www.example.net"]);
  const loop = walk("loop.cdn.test");
  assert.equal(loop.length, aliasesMax + 1);
  assert.equal(loop.at(-1), "ends loop.cdn.test");
});

test("outside all zones there is no chain", () => {
  const chain = newAliasChain();
  const name = nameFromText("www.example.net");
  assert.ok(name);
  startChain(compiled, name, 1, chain);
  assert.equal(chain.zone, -1);
});
