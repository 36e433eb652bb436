/**
 * Random zones, random questions: the responder against the algorithm of RFC 1034 §4.3.2 (with RFC 4592 and RFC 6672)
 * written down on lists of strings, as slowly and plainly as it reads.
 */
import { seededRandom } from "#base/random.ts";
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Fleet } from "#document/document.ts";
import type { Reading } from "../support/ask.ts";
import { bench, testFleet, zoneText } from "../support/fleet.ts";

const apex = "cdn.test";
const aliasesMax = 12;

interface Entry {
  readonly owner: string;
  readonly type: "A" | "TXT" | "NS" | "CNAME" | "DNAME" | "DS";
  readonly target: string;
}

interface Outcome {
  readonly rcode: number;
  readonly isReferral: boolean;
  readonly isNegative: boolean;
  /** `owner type`, and the target of aliases. */
  readonly answers: readonly string[];
}

const inZone = (name: string): boolean => name === apex || name.endsWith(`.${apex}`);

function expected(entries: readonly Entry[], question: string, type: string): Outcome {
  const at = (owner: string, one: string): Entry[] =>
    entries.filter((entry) => entry.owner === owner && entry.type === one);
  const exists = (name: string): boolean =>
    name === apex || entries.some(({ owner }) => owner === name || owner.endsWith(`.${name}`));
  const answers: string[] = [];
  const end = (parts: Partial<Outcome>): Outcome => ({
    rcode: 0,
    isReferral: false,
    isNegative: false,
    ...parts,
    answers,
  });
  let name = question;
  for (let aliases = 1; ; aliases++) {
    const own = name === apex ? [] : name.slice(0, -apex.length - 1).split(".");
    let next: string | undefined;
    for (let count = 1; count <= own.length && next === undefined; count++) {
      const ancestor = `${own.slice(own.length - count).join(".")}.${apex}`;
      const isCut = at(ancestor, "NS").length > 0 && !ancestor.startsWith("*.");
      if (isCut && !(type === "DS" && ancestor === name)) return end({ isReferral: true });
      const [dname] = at(ancestor, "DNAME");
      if (dname === undefined || ancestor === name) continue;
      answers.push(`${ancestor} DNAME ${dname.target}`);
      next = `${own.slice(0, own.length - count).join(".")}.${dname.target}`;
      if (next.length > 253) return end({ rcode: 6 });
      answers.push(`${name} CNAME ${next}`);
    }
    if (next === undefined) {
      let node = name;
      if (!exists(name)) {
        let encloser = name;
        while (!exists(encloser)) encloser = encloser.slice(encloser.indexOf(".") + 1);
        node = `*.${encloser}`;
        if (!exists(node)) return end({ rcode: 3, isNegative: true });
      }
      const [cname] = at(node, "CNAME");
      if (cname === undefined) {
        const found = at(node, type);
        for (const { target } of found) answers.push(`${name} ${type}${type === "DNAME" ? ` ${target}` : ""}`);
        return end({ isNegative: found.length === 0 });
      }
      answers.push(`${name} CNAME ${cname.target}`);
      next = cname.target;
    }
    if (type === "CNAME" || aliases === aliasesMax || !inZone(next)) return end({});
    name = next;
  }
}

function observed({ rcode, answers, authorities }: Reading): Outcome {
  return {
    rcode,
    isReferral: authorities.some((text) => / NS /.test(text)),
    isNegative: authorities.some((text) => / SOA /.test(text)),
    answers: answers.map((text) => {
      const [owner = "", , type = "", data = ""] = text.split(" ");
      return type === "CNAME" || type === "DNAME" ? `${owner} ${type} ${data}` : `${owner} ${type}`;
    }),
  };
}

test("60 random zones, 9,000 questions", () => {
  const seed = 60_211_120;
  const random = seededRandom(seed);
  const below = (count: number): number => Math.floor(random() * count);
  const labels = ["a", "b", "c", "*"];
  const nameOf = (depth: number): string =>
    [...Array.from({ length: depth }, () => labels[below(labels.length)] ?? "a"), apex].join(".");
  const base = testFleet({ zones: zoneText("      - {name: ns1, type: A, address: 192.0.2.1}"), steering: "" });
  const counts = { referral: 0, nxdomain: 0, yxdomain: 0, nodata: 0, alias: 0 };

  for (let turn = 0; turn < 60; turn++) {
    const entries = new Map<string, Entry>();
    for (let i = below(14) + 2; i > 0; i--) {
      const owner = nameOf(below(4) + 1);
      const type = (["A", "A", "TXT", "CNAME", "CNAME", "NS", "DNAME", "DS"] as const)[below(8)] ?? "A";
      const target = random() < 0.1 ? "away.example" : nameOf(below(4));
      const isAlone = [...entries.values()].every((one) => one.owner !== owner);
      const hasCname = entries.has(`${owner} CNAME`);
      if (!hasCname && (type !== "CNAME" || isAlone)) entries.set(`${owner} ${type}`, { owner, type, target });
    }
    const all = [...entries.values()];
    const records = all.map(({ owner, type, target }) => ({
      name: `${owner}.`,
      type,
      ...{
        A: { address: "192.0.2.1" },
        TXT: { text: ["x"] },
        DS: { keyTag: 1, algorithm: 13, digestType: 2, digest: "00" },
        NS: { target: `${target}.` },
        CNAME: { target: `${target}.` },
        DNAME: { target: `${target}.` },
      }[type],
    }));
    const [zone] = base.zones;
    const fleet = { ...base, zones: [{ ...zone, records }] } as unknown as Fleet;
    const { ask } = bench({ fleet });
    for (let i = 0; i < 150; i++) {
      const question = random() < 0.3 && all.length > 0 ? (all[below(all.length)]?.owner ?? apex) : nameOf(below(6));
      const type = ["A", "TXT", "CNAME", "DNAME", "DS"][below(5)] ?? "A";
      // The nameserver that the zone's own NS names is not one of the entries.
      const where = `seed ${seed}, zone ${turn}, ${question} ${type}\n${[...entries.keys()].join("\n")}`;
      const want = expected([...all, { owner: `ns1.${apex}`, type: "A", target: "" }], question, type);
      assert.deepEqual(observed(ask({ name: question, type }, { transport: "tcp" })), want, where);
      if (want.isReferral) counts.referral++;
      if (want.rcode === 3) counts.nxdomain++;
      if (want.rcode === 6) counts.yxdomain++;
      if (want.rcode === 0 && want.isNegative) counts.nodata++;
      if (want.answers.length > 1) counts.alias++;
    }
  }
  for (const [what, count] of Object.entries(counts)) {
    if (what !== "yxdomain") assert.ok(count > 200, `${what}: only ${count}`);
  }
});
