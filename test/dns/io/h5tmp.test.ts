import { serveBatch } from "./batch-served.ts";
import { udpSuite } from "./udp-suite-h5.ts";
for (let i = 0; i < 40; i++) udpSuite("b3", (addresses) => serveBatch(addresses, 3));
