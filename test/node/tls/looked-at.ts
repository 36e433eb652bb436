/** Certificates in files that a test looks at when it wants to: the clock is the test's. */
import type { TestContext } from "node:test";
import { type Certificates, openCertificates } from "../../../node/tls/certificates.ts";
import type { CertificateSettings } from "../../../node/tls/certificate-files.ts";
import { type FakeClock, fakeClock } from "../../support/fake-clock.ts";
import { keptLog } from "../../support/kept-log.ts";

export interface Opened {
  certificates: Certificates;
  clock: FakeClock;
  lines: ReturnType<typeof keptLog>["lines"];
  changes: () => number;
  /** Looks at the files as often as said. */
  look: (times: number) => Promise<void>;
}

export async function open(t: TestContext, settings: CertificateSettings): Promise<Opened> {
  const clock = fakeClock(Date.now());
  const { log, lines } = keptLog();
  let changes = 0;
  const certificates = await openCertificates({ settings, changed: () => (changes += 1), clock, log });
  t.after(certificates.close);
  return {
    certificates,
    clock,
    lines,
    changes: () => changes,
    async look(times) {
      for (let count = 0; count < times; count += 1) {
        const before = certificates.counts().looks;
        clock.advance(10_000);
        while (certificates.counts().looks === before) await new Promise((resolve) => setImmediate(resolve));
      }
    },
  };
}

/** The names of all certificates in service, in their order. */
export function namesOf({ certificates }: Opened): string[] {
  return certificates.all().flatMap(({ names }) => names);
}
