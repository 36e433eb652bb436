import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseVariant, type ParsedVariant } from "../../../node/variant/grammar.ts";
import { formatClassOf, negotiate, type FormatClass } from "../../../node/variant/negotiate.ts";

function parsed(query: string): ParsedVariant {
  const result = parseVariant(query, {});
  assert(result.outcome === "variant");
  return result;
}

describe("the class by Accept (RFC 9110 §12.5.1)", () => {
  const chrome = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8";
  const firefox = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5";
  const safari = "image/webp,image/avif,image/jxl,image/heic,video/*;q=0.8,image/png,image/*;q=0.8,*/*;q=0.5";
  const rows: [accept: string | undefined, formatClass: FormatClass, why: string][] = [
    [chrome, "avif", "Chrome"],
    [firefox, "avif", "Firefox"],
    [safari, "avif", "Safari: at equal q the smaller format"],
    ["image/webp,image/png,image/*;q=0.8,*/*;q=0.5", "webp", "a browser without AVIF"],
    [undefined, "compatible", "no header"],
    ["", "compatible", "an empty header"],
    ["*/*", "compatible", "curl: a wildcard proves nothing"],
    ["image/*", "compatible", "nor does this one"],
    ["image/webp", "webp", "WebP alone"],
    ["image/avif", "avif", "AVIF alone"],
    ["IMAGE/AVIF", "avif", "types are case-insensitive"],
    ["image/avif;q=0,image/webp", "webp", "q=0 is not acceptable"],
    ["image/avif;q=0, image/webp;q=0.0, */*", "compatible", "q=0 holds against a wildcard"],
    ["image/webp;q=0", "compatible", "nothing acceptable at all: Accept is disregarded"],
    ["text/html", "compatible", "no picture acceptable"],
    ["image/avif;q=0.5,image/webp;q=0.9", "webp", "the higher q wins"],
    ["image/webp;q=0.5,image/jpeg", "compatible", "JPEG is preferred by name"],
    ["image/webp;q=0.5,image/jpeg;q=0.5", "webp", "equal: the smaller format"],
    ["image/webp;q=0.5,*/*;q=0.9", "compatible", "JPEG is preferred through */*"],
    ["image/webp;q=0.5,image/*;q=0.2,*/*;q=0.9", "webp", "image/* is more specific than */*"],
    ["image/webp;q=0.5,image/jpeg;q=0.1,image/png;q=0.1,image/*;q=0.9", "webp", "a name is more specific than image/*"],
    ["image/webp;q=0.5,image/png;q=0.6", "compatible", "PNG counts as compatible"],
    [" image/webp ; q=0.8 ,\timage/png;q=0.3", "webp", "spaces around , and ;"],
    ["image/webp;Q=0.8", "webp", "parameter names are case-insensitive"],
    ["image/webp;q=1.000", "webp", "three decimals"],
    ["image/webp;q=0.", "compatible", "0. is 0"],
    ["image/webp;q=1.001", "compatible", "above 1"],
    ["image/webp;q=0.1234", "compatible", "four decimals"],
    ["image/webp;q=abc", "compatible", "no number"],
    ["image/webp;q=-1", "compatible", "negative"],
    ["image/webp;q", "compatible", "no value"],
    ["image/webp;", "compatible", "an empty parameter"],
    ["image/webp;q=0.8;ext=1", "webp", "what follows q was once an extension"],
    ["image/webp;v=2;q=0.8", "compatible", "a range with a parameter matches only such a type"],
    ['text/x;a="image/webp,image/avif";q=1', "compatible", "a comma inside quotes separates nothing"],
    ['text/x;a="\\",image/avif,";q=1,image/webp', "webp", "an escaped quote ends nothing"],
    ['text/x;a="image/webp', "compatible", "a quote that never ends"],
    ["webp,image/,/webp,image/we bp,*/webp,,;,", "compatible", "no media ranges"],
    ["image/webp,image/webp;q=0", "webp", "twice: the more generous holds"],
    [`${"text/a,".repeat(63)}image/webp`, "webp", "the 64th range is read"],
    [`${"text/a,".repeat(64)}image/webp`, "compatible", "the 65th is not"],
    [`image/webp,${"a".repeat(2048)}`, "compatible", "a header beyond the bound is not read at all"],
  ];
  for (const [accept, formatClass, why] of rows) {
    it(`${why}: ${String(accept).slice(0, 60)} → ${formatClass}`, () => {
      assert.equal(formatClassOf(accept), formatClass);
    });
  }
});

describe("the variant by class", () => {
  it("without auto=format Accept has no say and the answer does not vary", () => {
    const one = parsed("w=100&fm=png");
    assert.deepEqual(negotiate(one, "image/avif"), { variant: one.variant, formatClass: "compatible", varies: false });
  });

  const rows: [query: string, accept: string | undefined, format: string, instead: string | undefined][] = [
    ["auto=format", "image/avif,image/webp", "avif", "webp"],
    ["auto=format", "image/avif", "avif", "compatible"],
    ["auto=format", "image/avif,image/webp;q=0", "avif", "compatible"],
    ["auto=format", "image/webp", "webp", undefined],
    ["auto=format", "*/*", "compatible", undefined],
    ["auto=format", undefined, "compatible", undefined],
    ["auto=format&fm=png", undefined, "png", undefined],
    ["auto=format&fm=png", "image/webp", "webp", undefined],
  ];
  for (const [query, accept, format, instead] of rows) {
    it(`${query} for ${accept ?? "no Accept"} → ${format}, and always varies`, () => {
      const { variant, varies } = negotiate(parsed(query), accept);
      assert.equal(variant.format, format);
      assert.equal(variant.insteadOfAvif, instead);
      assert.equal(varies, true);
    });
  }
});
