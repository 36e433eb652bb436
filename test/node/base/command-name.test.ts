import assert from "node:assert/strict";
import { test } from "node:test";
import { asTyped, commandName } from "#base/command-name.ts";

const rows: [what: string, started: string | undefined, isCheckout: boolean, name: string][] = [
  ["npm install -g", "/usr/local/bin/nearcast", false, "nearcast"],
  ["install.sh's wrapper", "/opt/nearcast/current/deploy/nearcast.mjs", false, "nearcast"],
  ["npm link of a checkout", "/usr/local/bin/nearcast", true, "nearcast"],
  ["npx in a project", "/srv/shop/node_modules/.bin/nearcast", false, "npx nearcast"],
  ["npx in a checkout", "/srv/nearcast/deploy/nearcast.mjs", true, "npx nearcast"],
  ["a process that `up` started in a checkout", "/srv/nearcast/node/main.ts", true, "npx nearcast"],
  ["no script at all", undefined, false, "nearcast"],
];

for (const [what, started, isCheckout, name] of rows) {
  test(`${what}: ${name}`, () => assert.equal(commandName(started, isCheckout), name));
}

test("commands in a text from elsewhere are named as they are typed here", () => {
  const text = "drained: `nearcast undrain fra1` ends it; stop nearcast, or `npx nearcast up`";
  assert.equal(
    asTyped(text, "npx nearcast"),
    "drained: `npx nearcast undrain fra1` ends it; stop nearcast, or `npx nearcast up`",
  );
  assert.equal(asTyped(text, "nearcast"), text);
});
