/**
 * Another user of the machine who tries to take the lease: connects to BIRD from the edge's address, and announces.
 * `node lease-thief.ts JSON` with the place, the uid to become, and optionally a key; prints each state of its session.
 */
import { systemClock } from "#base/clock.ts";
import { openDialer, openKeyedDialer } from "../../../node/announce/dial.ts";
import { createSpeaker } from "../../../node/announce/speaker.ts";

const { peer, source, as, prefixes, uid, key } = JSON.parse(process.argv[2] ?? "{}") as {
  peer: { host: string; port: number };
  source: string;
  as: number;
  prefixes: string[];
  uid?: number;
  key?: string;
};
if (uid !== undefined) {
  process.setgroups?.([]);
  process.setgid?.(uid);
  process.setuid?.(uid);
}
const place = { peer, source };
const speaker = createSpeaker({
  dial: key === undefined ? openDialer(place) : openKeyedDialer(place, () => key, systemClock),
  clock: systemClock,
  changed() {
    console.log(JSON.stringify({ uid: process.getuid?.(), ...speaker.session(), announced: speaker.announced() }));
  },
});
speaker.start({ as, identifier: 0x7f_00_00_63, holdSeconds: 3 });
speaker.want({ prefixes, nextHops: ["10.6.6.6"], isShuttingDown: false });
// The speaker's timers keep no process alive.
process.stdin.resume();
