/** What does a miss cost, and how much does it add? Each request has a URL of its own; the origin takes 20 ms. */
import { comparison, type Report } from "./lab/figures.ts";
import { startHttpServers } from "./lab/http-servers.ts";
import type { Lab } from "./lab/lab.ts";
import { filesHost } from "./lab/nearcast.ts";
import { startObjectOrigin } from "./lab/object-origin.ts";
import { takeTurns } from "./lab/rounds.ts";
import { drive, storeScript } from "./lab/wrk.ts";

const delayMs = 20;
const bytes = 16_384;
/** No more than a few hundred a second, so that the origin, which shares a core with the driver, is not the limit. */
const connections = 16;

export async function measureHttpMiss(lab: Lab): Promise<Report> {
  const body = Buffer.alloc(bytes, "0123456789abcdef");
  const origin = await startObjectOrigin(lab, () => ({ type: "image/webp", body }), { delayMs });
  const { servers, absent, notes, stop } = await startHttpServers(lab, { origin });
  const script = await missScript(lab);
  const taken = await takeTurns(
    lab,
    servers.map(({ name, program, clearUrl: url }) => ({
      name,
      measure: (seconds) => drive(lab, program, { url, connections, seconds, bodyBytes: bytes, script }),
    })),
  );
  await stop();
  const title = `Miss of 16 KB, an origin that takes ${delayMs} ms`;
  return {
    question: "http-miss",
    tables: [comparison(title, taken, "nginx")],
    notes: [`HTTP/1.1, ${connections} connections, wrk with one thread; all servers store what they fetch`, ...notes],
    absent,
    samples: { [title]: Object.fromEntries(taken) },
  };
}

function missScript(lab: Lab): Promise<string> {
  return storeScript(
    lab,
    "miss",
    `local number = 0
local run = ""
function init()
  math.randomseed(os.time())
  run = math.random(1, 2 ^ 30)
  wrk.headers["Host"] = "${filesHost}"
end
function request()
  number = number + 1
  return wrk.format("GET", "/miss/" .. run .. "/" .. number)
end
`,
  );
}
