/**
 * The outcomes of a query, as indexes of their UDP counters. The TCP counter of an outcome is `tcpOffset` higher. The
 * responder passes these numbers instead of names, so counting is one addition.
 */
import { counterIndex, outcomeIndex } from "../counters.ts";

export const noerror = outcomeIndex("udp", "noerror");
export const nodata = outcomeIndex("udp", "nodata");
export const nxdomain = outcomeIndex("udp", "nxdomain");
export const yxdomain = outcomeIndex("udp", "yxdomain");
export const referral = outcomeIndex("udp", "referral");
export const refused = outcomeIndex("udp", "refused");
export const formerr = outcomeIndex("udp", "formerr");
export const notimp = outcomeIndex("udp", "notimp");
export const badvers = outcomeIndex("udp", "badvers");
export const servfail = outcomeIndex("udp", "servfail");
export const slipped = outcomeIndex("udp", "slipped");
export const ignoredResponse = outcomeIndex("udp", "ignored-response");
export const ignoredShort = outcomeIndex("udp", "ignored-short");
export const ignoredPort = outcomeIndex("udp", "ignored-port");
export const ignoredRate = outcomeIndex("udp", "ignored-rate");
export const tcpOffset = outcomeIndex("tcp", "noerror") - noerror;

export const truncatedCounter = counterIndex("truncated");
export const clientSubnetsCounter = counterIndex("clientSubnets");
export const steeredCounter = counterIndex("steered");
export const failuresCounter = counterIndex("failures");
export const cookiesValidCounter = counterIndex("cookiesValid");
export const cookiesInvalidCounter = counterIndex("cookiesInvalid");
