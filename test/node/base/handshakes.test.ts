import assert from "node:assert/strict";
import { test } from "node:test";
import { createHandshakes } from "../../../node/base/handshakes.ts";

test("an address that has too many loses its oldest, and nobody else's", () => {
  const handshakes = createHandshakes<string>({ handshakes: 10, handshakesPerAddress: 2 });
  assert.equal(handshakes.begin("b1", "192.0.2.2"), undefined);
  assert.equal(handshakes.begin("a1", "192.0.2.1"), undefined);
  assert.equal(handshakes.begin("a2", "192.0.2.1"), undefined);
  assert.equal(handshakes.begin("a3", "192.0.2.1"), "a1");
  assert.equal(handshakes.begin("a4", "192.0.2.1"), "a2");
  assert.deepEqual([...handshakes.all()].toSorted(), ["a3", "a4", "b1"]);
});

test("when there are too many in all, the address that has the most loses its oldest", () => {
  const handshakes = createHandshakes<string>({ handshakes: 4, handshakesPerAddress: 10 });
  handshakes.begin("b1", "192.0.2.2");
  for (const one of ["a1", "a2", "a3"]) handshakes.begin(one, "192.0.2.1");
  assert.equal(handshakes.begin("c1", "192.0.2.3"), "a1");
  assert.equal(handshakes.begin("d1", "192.0.2.4"), "a2");
  assert.equal(handshakes.size(), 4);
});

test("what is proven or closed no longer counts, however often that is reported", () => {
  const handshakes = createHandshakes<string>({ handshakes: 2, handshakesPerAddress: 2 });
  handshakes.begin("a1", "192.0.2.1");
  handshakes.begin("a2", "192.0.2.1");
  handshakes.end("a1");
  handshakes.end("a1");
  assert.equal(handshakes.begin("a3", "192.0.2.1"), undefined);
  assert.deepEqual([...handshakes.all()], ["a2", "a3"]);
});
