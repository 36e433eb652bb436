import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseVariant } from "../../../node/variant/grammar.ts";
import { canonicalForm, parseCanonicalForm, variantKey } from "../../../node/variant/key.ts";
import { negotiate } from "../../../node/variant/negotiate.ts";
import { type Variant, withinBounds } from "../../../node/variant/variant.ts";

function settled(query: string, accept?: string): Variant {
  const parsed = parseVariant(query, {});
  assert(parsed.outcome === "variant");
  return negotiate(parsed, accept).variant;
}

describe("the canonical form", () => {
  const rows: [query: string, accept: string | undefined, form: string][] = [
    ["", undefined, "fit=clip&q=75"],
    ["h=0.5&w=400&fit=crop&q=80&bg=8f00", undefined, "w=400&h=0.5000&fit=crop&q=80&bg=88ff0000"],
    ["w=0.5&dpr=2", undefined, "w=1.0000&fit=clip&q=75"],
    ["w=1", undefined, "w=1&fit=clip&q=75"],
    ["fm=jpg", undefined, "fit=clip&q=75&fm=jpg"],
    ["fm=avif", undefined, "fit=clip&q=75&fm=avif"],
    ["auto=format", "image/avif,image/webp", "fit=clip&q=75&fm=avif&instead=webp"],
    ["auto=format", "image/avif", "fit=clip&q=75&fm=avif&instead=compatible"],
    ["auto=format", "image/webp", "fit=clip&q=75&fm=webp"],
    ["auto=format", "*/*", "fit=clip&q=75&class=compatible"],
  ];
  for (const [query, accept, form] of rows) {
    it(`"${query}" for ${accept ?? "any client"} → ${form}`, () => {
      assert.equal(canonicalForm(settled(query, accept)), form);
    });
  }
});

describe("equal pictures have equal keys", () => {
  const rows: [string, string][] = [
    ["w=800", "w=400&dpr=2"],
    ["w=400&h=300", "h=300&w=0400&q=75&fit=clip&dpr=1"],
    ["bg=fff", "bg=FFFFFFFF"],
    ["bg=0fff", ""],
    ["fm=png&q=10", "fm=png&q=90"],
    ["w=100&fit=crop", "w=100"],
    ["w=9000&h=10".replace("9000", "8192"), "w=8192&h=10&dpr=5"],
    ["w=400&ixlib=a", "w=400&ixlib=b"],
  ];
  for (const [one, other] of rows) {
    it(`"${one}" and "${other}"`, () => {
      assert.equal(variantKey("v1", settled(one)), variantKey("v1", settled(other)));
    });
  }

  it("auto=format for a WebP client and fm=webp", () => {
    assert.equal(variantKey("v1", settled("auto=format", "image/webp")), variantKey("v1", settled("fm=webp")));
  });
});

it("what a host allows is part of the key unless it is the default, and survives the way to another node", () => {
  const variant = settled("w=8000&fm=avif");
  const ordinary = { enlargementMax: 1, outputPixelsMax: 33_554_432 };
  assert.deepEqual(withinBounds(variant, ordinary), variant);
  const forms = [
    [{ ...ordinary, enlargementMax: 2.5 }, "w=8000&fit=clip&q=75&fm=avif&grow=2.5000"],
    [{ ...ordinary, outputPixelsMax: 1_000_000 }, "w=8000&fit=clip&q=75&fm=avif&px=1000000"],
    [{ enlargementMax: 10, outputPixelsMax: 67_108_864 }, "w=8000&fit=clip&q=75&fm=avif&grow=10.0000&px=67108864"],
  ] as const;
  for (const [bounds, form] of forms) {
    const bounded = withinBounds(variant, bounds);
    assert.equal(canonicalForm(bounded), form);
    assert.deepEqual(parseCanonicalForm(form), bounded);
  }
  for (const tooMuch of ["grow=10.0001", "grow=0.5000", "grow=2", "px=67108865", "px=1", "px=5e6"]) {
    assert.equal(parseCanonicalForm(`w=8000&fit=clip&q=75&fm=avif&${tooMuch}`), undefined, tooMuch);
  }
});

it("different pictures have different keys", () => {
  const queries = ["", "w=1", "w=2", "h=1", "w=1&h=1", "w=1&h=1&fit=crop", "w=1&h=1&fit=fill", "w=1&h=1&fit=max"];
  queries.push("w=1&h=1&fit=min", "w=1&h=1&fit=scale", "q=1", "fm=jpg", "fm=png", "fm=webp", "fm=avif", "bg=f00");
  queries.push("w=0.5", "h=0.5", "w=0.5&dpr=2", "w=1&h=0.5", "w=0.5&h=1", "bg=8f00", "w=1&fit=max", "w=11", "h=11");
  const keys = new Set(queries.map((query) => variantKey("v1", settled(query))));
  keys.add(variantKey("v1", settled("auto=format")));
  keys.add(variantKey("v1", settled("auto=format", "image/avif")));
  keys.add(variantKey("v1", settled("auto=format", "image/avif,image/webp")));
  keys.add(variantKey("v2", settled("")));
  assert.equal(keys.size, queries.length + 4);
  for (const key of keys) assert.match(key, /^[0-9a-f]{64}$/);
});

describe("the canonical form is read again", () => {
  const queries = ["", "w=1", "h=8192", "w=800&h=600&fit=crop", "w=0.5&h=300&fit=fill", "w=0.5&dpr=4", "w=5&fit=max"];
  queries.push("q=1", "fm=jpg&q=100", "fm=png&q=10", "fm=webp", "fm=avif", "bg=8f00", "w=10&h=10&fit=min&bg=fff");
  const accepts = [undefined, "image/avif,image/webp", "image/avif", "image/webp", "*/*"];
  it("as the same variant, for whatever a URL can say", () => {
    for (const query of queries) {
      for (const accept of accepts) {
        const variant = settled(accept === undefined ? query : `${query}&auto=format`, accept);
        const read = parseCanonicalForm(canonicalForm(variant));
        // PNG's quality is not written down.
        const same = variant.format === "png" ? { ...variant, quality: 75 } : variant;
        assert.deepEqual(read, same, `${query} for ${accept}`);
      }
    }
  });

  const refused = ["", "w=1", "w=0&fit=clip&q=75", "w=8193&fit=clip&q=75", "w=01&fit=clip&q=75", "w=1.5&fit=clip&q=75"];
  refused.push("w=5.0001&fit=clip&q=75", "w=0.0000&fit=clip&q=75", "w=1&fit=crop&q=75", "fit=clip", "fit=clip&q=0");
  refused.push("fit=clip&q=101", "fit=clip&q=075", "fit=none&q=75", "fit=clip&q=75&fm=png", "fit=clip&q=75&fm=gif");
  refused.push("fit=clip&q=75&fm=webp&instead=webp", "fit=clip&q=75&class=compatible&fm=webp", "fit=clip&q=75&x=1");
  refused.push("fit=clip&q=75&bg=00ffffff", "fit=clip&q=75&bg=FFFFFFFF", "fit=clip&q=75 ", "fit=clip&q=75\n");
  refused.push("q=75&fit=clip", "fit=clip&fit=clip&q=75", "fit=clip&q=75&fm=avif&instead=jpeg");
  for (const text of refused) {
    it(`but not ${JSON.stringify(text)}`, () => {
      assert.equal(parseCanonicalForm(text), undefined);
    });
  }
});
