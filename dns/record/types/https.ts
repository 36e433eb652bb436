/** HTTPS (RFC 9460): how to reach a web site. It is SVCB with its own type number. */
import { serviceType } from "./svcb.ts";

export const https = serviceType("HTTPS");
