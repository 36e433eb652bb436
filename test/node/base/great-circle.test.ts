import assert from "node:assert/strict";
import { test } from "node:test";
import { closeness, distanceKm, unitVector } from "#base/great-circle.ts";

const frankfurt = unitVector({ latitude: 50.11, longitude: 8.68 });
const newYork = unitVector({ latitude: 40.71, longitude: -74.01 });
const tokyo = unitVector({ latitude: 35.68, longitude: 139.69 });

test("distances are those of the atlas", () => {
  const near = (km: number, expected: number): boolean => Math.abs(km - expected) < expected * 0.01;
  assert.ok(near(distanceKm(frankfurt, newYork), 6200));
  assert.ok(near(distanceKm(frankfurt, tokyo), 9335));
  assert.equal(distanceKm(tokyo, tokyo), 0);
  const pole = unitVector({ latitude: 90, longitude: 12 });
  assert.ok(near(distanceKm(pole, unitVector({ latitude: -90, longitude: 70 })), 20_015));
});

test("the nearer of two is the closer, also across the date line", () => {
  const fiji = unitVector({ latitude: -18, longitude: 178 });
  const samoa = unitVector({ latitude: -14, longitude: -172 });
  assert.ok(closeness(fiji, samoa) > closeness(fiji, tokyo));
});
