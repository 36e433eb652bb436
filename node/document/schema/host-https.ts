/** How hosts move their clients to HTTPS. These keys are part of a host's entry in the fleet document (hosts.ts). */
import { Type } from "typebox";
import { strict } from "#base/schema-terms.ts";

const yearSeconds = 31_536_000;

const hsts = Type.Object(
  {
    maxAgeSeconds: Type.Integer({
      minimum: 0,
      maximum: 10 * yearSeconds,
      default: yearSeconds,
      unit: "s",
      description: "how long browsers use only HTTPS after each response; 0: they forget the policy",
    }),
    includeSubDomains: Type.Boolean({ default: false, description: "the policy covers all names below the host, too" }),
    preload: Type.Boolean({
      default: false,
      description:
        "allows browsers to build in the policy (hstspreload.org), which takes months to undo; needs " +
        "`includeSubDomains` and at least 31536000 s",
    }),
  },
  {
    ...strict,
    description:
      "Strict-Transport-Security (RFC 6797) in responses over TLS; browsers then refuse the host over HTTP and with " +
      "a certificate that they do not trust",
  },
);

export const hostHttps = {
  redirectToHttps: Type.Optional(
    Type.Boolean({
      description:
        "answer requests over HTTP with a redirect (301) to HTTPS; not for hosts behind a TLS proxy, whose requests " +
        "reach the edge over HTTP (absent: false)",
    }),
  ),
  hsts: Type.Optional(hsts),
};
