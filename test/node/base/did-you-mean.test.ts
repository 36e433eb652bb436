import { equal } from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "#base/did-you-mean.ts";

const known = ["shop/chair.jpg", "shop/table.jpg", "img.cdn.test", "a.jpg"];

const rows: [word: string, meant: string | undefined][] = [
  ["shop/chiar.jpg", "shop/chair.jpg"],
  ["shop/chairs.jpg", "shop/chair.jpg"],
  ["shop/char.jpg", "shop/chair.jpg"],
  ["imh.cdn.test", "img.cdn.test"],
  ["b.jpg", "a.jpg"],
  ["shop/lamp.jpg", undefined],
  ["", undefined],
  ["x".repeat(100_000), undefined],
];

for (const [word, meant] of rows) {
  test(`"${word.slice(0, 20)}" ${meant === undefined ? "is like none of them" : `probably means ${meant}`}`, () => {
    equal(nearest(word, known), meant);
  });
}
