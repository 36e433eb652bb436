import assert from "node:assert/strict";
import { test } from "node:test";
import { commandName } from "#base/command-name.ts";

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
