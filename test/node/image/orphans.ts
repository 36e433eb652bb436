/** Opens a pool, says which decoder processes it has, and waits to be killed. */
import { writeSync } from "node:fs";
import { systemClock } from "../../../node/base/clock.ts";
import { silentLog } from "../../../node/base/log.ts";
import { openDecoderPool } from "../../../node/image/pool.ts";

const pool = openDecoderPool({ size: 2, clock: systemClock, log: silentLog });
await pool.ready();
writeSync(1, `${JSON.stringify(pool.stats().pids)}\n`);
