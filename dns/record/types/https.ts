/** HTTPS (RFC 9460): how a web site is reached. SVCB with a type of its own. */
import { serviceType } from "./svcb.ts";

export const https = serviceType("HTTPS");
