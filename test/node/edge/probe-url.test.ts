/** Where a node wants to be probed: over HTTPS only if it listens where the fleet document says that it is. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { probeUrlOf } from "../../../node/edge/probe-url.ts";

const https = (...addresses: { host: string; port: number }[]) => ({ https: { addresses, certificates: [] } });

test("HTTPS at the node's own address, a URL of the settings, or nothing", () => {
  const rows: [config: Parameters<typeof probeUrlOf>[0], http: string | undefined, url: string | undefined][] = [
    [{}, "http://192.0.2.1", undefined],
    [https({ host: "192.0.2.1", port: 443 }), "http://192.0.2.1:80", "https://192.0.2.1:443"],
    [https({ host: "0.0.0.0", port: 8443 }), "http://192.0.2.1", "https://192.0.2.1:8443"],
    [https({ host: "::", port: 8443 }), "http://[2001:db8::1]", "https://[2001:db8::1]:8443"],
    [https({ host: "2001:db8::1", port: 443 }), "http://[2001:db8::1]:80", "https://[2001:db8::1]:443"],
    // An anycast address would lead the probe to any node.
    [https({ host: "198.51.100.1", port: 443 }), "http://192.0.2.1", undefined],
    [https({ host: "192.0.2.1", port: 443 }), "http://fra1.example", undefined],
    [https({ host: "192.0.2.1", port: 0 }), "http://192.0.2.1", undefined],
    [https({ host: "192.0.2.1", port: 443 }), undefined, undefined],
    [{ probeUrl: "https://cdn.example" }, undefined, "https://cdn.example"],
    [
      { ...https({ host: "192.0.2.1", port: 443 }), probeUrl: "https://192.0.2.1:444" },
      "http://192.0.2.1",
      "https://192.0.2.1:444",
    ],
  ];
  for (const [config, http, url] of rows) assert.equal(probeUrlOf(config, http), url, JSON.stringify([config, http]));
});
