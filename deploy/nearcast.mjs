#!/usr/bin/env node
// The `nearcast` command's launcher: the TypeScript as it stands in a checkout, the compiled JavaScript in an
// installed package (Node strips no types below node_modules). It must still parse on the Nodes that are too old for
// the rest, so it is plain JavaScript and imports nothing before it has looked at the version.
import { existsSync } from "node:fs";

const wanted = [24, 12];
const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);

if (major < wanted[0] || (major === wanted[0] && minor < wanted[1])) {
  const here = new URL("../node_modules/.bin/node", import.meta.url);
  process.stderr.write(
    `nearcast needs Node ${wanted.join(".")} or newer; this is Node ${process.versions.node} (${process.execPath}).\n` +
      (existsSync(here)
        ? "A newer one is installed beside it: run `npx nearcast` in the checkout, or `npm start`.\n"
        : "Install a newer Node, or add one to this folder alone: npm install --save-dev node@26\n"),
  );
  process.exitCode = 2;
} else {
  const source = new URL("./cli/main.ts", import.meta.url);
  const compiled = new URL("../dist/deploy/cli/main.js", import.meta.url);
  await import(existsSync(source) ? source.href : compiled.href);
}
