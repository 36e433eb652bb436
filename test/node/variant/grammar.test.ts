import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { seededRandom } from "../../../node/base/random.ts";
import { grammarLimits, parseVariant } from "../../../node/variant/grammar.ts";
import { canonicalForm } from "../../../node/variant/key.ts";
import type { Variant } from "../../../node/variant/variant.ts";

const plain: Variant = { fit: "clip", quality: 75, format: "source" };

function variantOf(query: string, presets: Parameters<typeof parseVariant>[1] = {}): Variant {
  const parsed = parseVariant(query, presets);
  assert.equal(parsed.outcome, "variant", `${query} was rejected`);
  assert(parsed.outcome === "variant");
  return parsed.variant;
}

describe("what is accepted", () => {
  const rows: [query: string, variant: Partial<Variant>][] = [
    ["", {}],
    ["?", {}],
    ["w=400", { widthPx: 400 }],
    ["?w=400&h=300", { widthPx: 400, heightPx: 300 }],
    ["w=1", { widthPx: 1 }],
    ["w=8192&h=0008", { widthPx: 8192, heightPx: 8 }],
    ["w=0.5", { widthFraction: 0.5 }],
    ["w=.25&h=0.3", { widthFraction: 0.25, heightFraction: 0.3 }],
    ["w=0.000001", { widthFraction: 0.0001 }],
    ["w=0.333333333", { widthFraction: 0.3333 }],
    ["w=9&h=9&fit=crop", { widthPx: 9, heightPx: 9, fit: "crop" }],
    ["w=9&h=9&fit=fill", { widthPx: 9, heightPx: 9, fit: "fill" }],
    ["w=9&h=9&fit=max", { widthPx: 9, heightPx: 9, fit: "max" }],
    ["w=9&h=9&fit=min", { widthPx: 9, heightPx: 9, fit: "min" }],
    ["w=9&h=9&fit=scale", { widthPx: 9, heightPx: 9, fit: "scale" }],
    ["w=9&fit=crop", { widthPx: 9 }],
    ["h=9&fit=scale", { heightPx: 9 }],
    ["w=9&fit=min", { widthPx: 9, fit: "max" }],
    ["w=9&fit=max", { widthPx: 9, fit: "max" }],
    ["fit=crop", {}],
    ["q=1", { quality: 1 }],
    ["q=100", { quality: 100 }],
    ["fm=jpg", { format: "jpeg" }],
    ["fm=png", { format: "png" }],
    ["fm=webp", { format: "webp" }],
    ["fm=avif", { format: "avif" }],
    ["w=100&dpr=2", { widthPx: 200 }],
    ["w=100&h=33&dpr=1.5", { widthPx: 150, heightPx: 50 }],
    ["w=1&dpr=0.1", { widthPx: 1 }],
    ["w=0.5&dpr=3", { widthFraction: 1.5 }],
    ["h=0.5&dpr=.5", { heightFraction: 0.25 }],
    ["dpr=5", {}],
    ["w=8000&h=4000&dpr=5", { widthPx: 8192, heightPx: 4096 }],
    ["bg=f00", { background: "ff0000ff" }],
    ["bg=8F00", { background: "ff000088" }],
    ["bg=00FF7f", { background: "00ff7fff" }],
    ["bg=80112233", { background: "11223380" }],
    ["bg=0fff", {}],
    ["bg=00123456", {}],
    ["w=400&utm_source=x&ixlib=js-3.8.0&w[]=5&W=3", { widthPx: 400 }],
    ["w=4%30%30", { widthPx: 400 }],
    ["%77=400", { widthPx: 400 }],
    ["nothing&=&&w=2", { widthPx: 2 }],
    ["constructor=1&__proto__=2&toString", {}],
  ];
  for (const [query, expected] of rows) {
    it(`"${query}" → ${JSON.stringify(expected)}`, () => {
      assert.deepEqual(variantOf(query), { ...plain, ...expected });
    });
  }

  it("auto=format is told beside the variant, which keeps fm as the fallback", () => {
    for (const query of ["auto=format&fm=png", "auto=compress,format&fm=png", "auto=format,compress&fm=png"]) {
      assert.deepEqual(parseVariant(query, {}), {
        outcome: "variant",
        variant: { ...plain, format: "png" },
        autoFormat: true,
      });
    }
    assert.deepEqual(parseVariant("auto=compress", {}), { outcome: "variant", variant: plain, autoFormat: false });
  });

  it("decoded parameters are read like the raw query", () => {
    assert.deepEqual(variantOf("w=4%30%30&bg=f00"), variantOf("w=400&bg=f00"));
  });
});

describe("what is rejected, with parameter, value and range", () => {
  const side = "a whole number of pixels from 1 to 8192, or a fraction above 0 and below 1";
  const dpr = "between 0.1 and 5";
  const escape = "well-formed percent-encoded UTF-8";
  const rows: [query: string, parameter: string, value: string, allowed: string][] = [
    ["w=0", "w", "0", side],
    ["w=abc", "w", "abc", side],
    ["w=99999999", "w", "99999999", side],
    ["w=9999999999999999999999", "w", "9999999999999999999999", side],
    ["w=8193", "w", "8193", side],
    ["w=-5", "w", "-5", side],
    ["w=%2B5", "w", "+5", side],
    ["w=+5", "w", " 5", side],
    ["w=1e3", "w", "1e3", side],
    ["w=1.0", "w", "1.0", side],
    ["w=0.0", "w", "0.0", side],
    ["w=", "w", "", side],
    ["w", "w", "", side],
    ["h=Infinity", "h", "Infinity", side],
    ["h=%00", "h", "\0", side],
    ["fit=cover", "fit", "cover", "one of clip, crop, fill, max, min, scale"],
    ["fit=CLIP", "fit", "CLIP", "one of clip, crop, fill, max, min, scale"],
    ["q=0", "q", "0", "a whole number from 1 to 100"],
    ["q=101", "q", "101", "a whole number from 1 to 100"],
    ["q=7.5", "q", "7.5", "a whole number from 1 to 100"],
    ["fm=gif", "fm", "gif", "one of jpg, png, webp, avif"],
    ["fm=jpeg", "fm", "jpeg", "one of jpg, png, webp, avif"],
    ["auto=enhance", "auto", "enhance", "format"],
    ["auto=format,compress,format", "auto", "format,compress,format", "format"],
    ["auto=", "auto", "", "format"],
    ["dpr=0", "dpr", "0", dpr],
    ["dpr=0.05", "dpr", "0.05", dpr],
    ["dpr=5.01", "dpr", "5.01", dpr],
    ["dpr=2.", "dpr", "2.", dpr],
    ["dpr=", "dpr", "", dpr],
    ["dpr=NaN", "dpr", "NaN", dpr],
    ["bg=red", "bg", "red", "3, 4, 6 or 8 hexadecimal digits: RGB, ARGB, RRGGBB or AARRGGBB"],
    ["bg=12345", "bg", "12345", "3, 4, 6 or 8 hexadecimal digits: RGB, ARGB, RRGGBB or AARRGGBB"],
    ["preset=card", "preset", "card", "the name of a preset in the fleet document"],
    ["preset=__proto__", "preset", "__proto__", "the name of a preset in the fleet document"],
    ["w=400&w=400", "w", "400", "given only once"],
    ["w=400&%77=500", "w", "500", "given only once"],
    ["w=%zz", "w", "w=%zz", escape],
    ["w=%ff", "w", "w=%ff", escape],
    ["x=%", "x", "x=%", escape],
    ["%=1", "query", "%=1", escape],
    ["=%", "query", "=%", escape],
  ];
  for (const [query, parameter, value, allowed] of rows) {
    it(`"${query}"`, () => {
      assert.deepEqual(parseVariant(query, {}), { outcome: "rejected", parameter, value, allowed });
    });
  }

  it("a query of 64 KB, with only the beginning repeated", () => {
    const rejection = parseVariant(`w=400&x=${"y".repeat(65_536)}`, {});
    assert(rejection.outcome === "rejected");
    assert.equal(rejection.parameter, "query");
    assert.equal(rejection.value.length, 100);
    assert.equal(rejection.allowed, "at most 4096 characters");
  });

  it("more parameters than the bound", () => {
    const query = Array.from({ length: grammarLimits.parametersMax + 1 }, (_, index) => `p${index}=1`).join("&");
    const rejection = parseVariant(query, {});
    assert(rejection.outcome === "rejected");
    assert.equal(rejection.allowed, "at most 64 parameters");
    assert.equal(parseVariant(query.slice(query.indexOf("&") + 1), {}).outcome, "variant");
  });
});

describe("presets", () => {
  const presets = {
    card: { w: 320, h: 200, fit: "crop", q: 60, fm: "webp", dpr: 2, bg: "fff" },
    auto: { auto: "format", fm: "png" },
    empty: {},
  } as const;

  it("a preset gives every parameter that it names", () => {
    assert.deepEqual(variantOf("preset=card", presets), {
      widthPx: 640,
      heightPx: 400,
      fit: "crop",
      quality: 60,
      format: "webp",
      background: "ffffffff",
    });
    assert.deepEqual(variantOf("preset=empty", presets), plain);
  });

  it("explicit parameters win, wherever they stand", () => {
    for (const query of ["preset=card&q=90&w=100&dpr=1", "q=90&w=100&dpr=1&preset=card"]) {
      const variant = variantOf(query, presets);
      assert.equal(variant.quality, 90, query);
      assert.equal(variant.widthPx, 100, query);
      assert.equal(variant.heightPx, 200, query);
    }
  });

  it("an explicit fm switches the preset's auto off, an explicit auto does not need the preset's", () => {
    const automatic = parseVariant("preset=auto", presets);
    const fixed = parseVariant("preset=auto&fm=jpg", presets);
    const both = parseVariant("preset=card&auto=format", presets);
    assert(automatic.outcome === "variant" && fixed.outcome === "variant" && both.outcome === "variant");
    assert.deepEqual([automatic.autoFormat, automatic.variant.format], [true, "png"]);
    assert.deepEqual([fixed.autoFormat, fixed.variant.format], [false, "jpeg"]);
    assert.deepEqual([both.autoFormat, both.variant.format], [true, "webp"]);
  });

  it("a preset is named once", () => {
    assert.equal(parseVariant("preset=card&preset=card", presets).outcome, "rejected");
  });
});

describe("properties, from a seed", () => {
  const seed = 20_260_101;
  const random = seededRandom(seed);
  const pick = <Item>(items: readonly Item[]): Item => {
    const item = items[Math.floor(random() * items.length)];
    assert(item !== undefined);
    return item;
  };
  const whole = (min: number, max: number): string => String(min + Math.floor(random() * (max - min + 1)));
  const makers: Record<string, () => string> = {
    w: () => (random() < 0.8 ? whole(1, 8192) : (0.0001 + random() * 0.19).toFixed(4)),
    h: () => (random() < 0.8 ? whole(1, 8192) : (0.0001 + random() * 0.19).toFixed(4)),
    fit: () => pick(["clip", "crop", "fill", "max", "min", "scale"]),
    q: () => whole(1, 100),
    fm: () => pick(["jpg", "png", "webp", "avif"]),
    dpr: () => (0.1 + random() * 4.9).toFixed(2),
    bg: () =>
      Math.floor(random() * 0xffff_ffff)
        .toString(16)
        .padStart(8, "0"),
  };
  const makePairs = (): [string, string][] =>
    Object.entries(makers)
      .filter(() => random() < 0.6)
      .map(([name, make]) => [name, make()]);
  const shuffled = (pairs: [string, string][]): [string, string][] =>
    pairs
      .map((pair) => ({ pair, at: random() }))
      .toSorted((a, b) => a.at - b.at)
      .map(({ pair }) => pair);
  const queryOf = (pairs: [string, string][]): string => pairs.map(([name, value]) => `${name}=${value}`).join("&");

  it("the order of parameters and unknown ones between them change nothing", () => {
    for (let round = 0; round < 2000; round += 1) {
      const pairs = makePairs();
      const query = queryOf(pairs);
      const other = queryOf([...shuffled(pairs), ["utm", whole(0, 99)]]);
      assert.equal(
        canonicalForm(variantOf(other)),
        canonicalForm(variantOf(query)),
        `seed ${seed}: ${query} | ${other}`,
      );
    }
  });

  it("parsing a canonical form gives the same canonical form", () => {
    for (let round = 0; round < 2000; round += 1) {
      const query = queryOf(makePairs());
      const form = canonicalForm(variantOf(query));
      assert.equal(canonicalForm(variantOf(form)), form, `seed ${seed}: ${query}`);
    }
  });

  it("no text makes the parser throw", () => {
    const alphabet = ["w", "=", "&", "%", "0", "9", ".", "h", "q", "\0", "ü", "%41", "%ff", "?", "+", "preset", "dpr"];
    for (let round = 0; round < 5000; round += 1) {
      const text = Array.from({ length: Math.floor(random() * 30) }, () => pick(alphabet)).join("");
      const parsed = parseVariant(text, {});
      if (parsed.outcome === "rejected") assert(parsed.allowed !== "" && parsed.parameter !== "", text);
    }
  });
});
