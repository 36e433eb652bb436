/**
 * SVCB (RFC 9460): how to reach a service, at which name and with which parameters (../svc-params.ts). This file writes
 * the record's own parameters; dns/zone/derived-records.ts adds the addresses of the target as hints.
 */
import { targetName } from "../domain-names.ts";
import { readName, readUint16 } from "../rdata-reader.ts";
import { putName, putUint16 } from "../rdata-writer.ts";
import { recordSchema, uint16, uint16Max } from "../record-schema.ts";
import { recordType } from "../record-type.ts";
import { takeName, takeNumber } from "../zone-file/fields.ts";
import {
  faultsOfParams,
  keysOf,
  putSvcParams,
  readSvcParams,
  rulesOfParams,
  svcParams,
  takeSvcParams,
} from "../svc-params.ts";

/** HTTPS and SVCB differ only in their type. */
export function serviceType<const Kind extends "HTTPS" | "SVCB">(type: Kind) {
  return recordType({
    type,
    schema: recordSchema(type, { priority: uint16, target: targetName, params: svcParams }),
    readText(fields, { name, ttlSeconds }) {
      const priority = takeNumber(fields, "a priority", uint16Max);
      return { name, type, ttlSeconds, priority, target: takeName(fields, "a name"), params: takeSvcParams(fields) };
    },
    readRdata: (reader, start) => ({
      ...start,
      type,
      priority: readUint16(reader),
      target: readName(reader),
      params: readSvcParams(reader),
    }),
    writeRdata({ priority, target, params }, into) {
      putUint16(into, priority);
      // RFC 9460 §2.2.
      putName(into, target, "whole");
      // RFC 9460 §2.4.2: priority 0 makes the record an alias.
      if (priority > 0) putSvcParams(into, params);
    },
    targetOf: ({ target }) => target,
    faultsOf: ({ params }) => faultsOfParams(params),
    *rulesOf({ priority, target, params }, around) {
      // RFC 9460 §2.4.2.
      if (priority === 0 && keysOf(params).length > 0) {
        yield {
          path: around.at("params"),
          message:
            `a ${type} record of priority 0 is an alias and takes no parameters: remove them, or set ` +
            `priority to 1 or more`,
        };
      }
      yield* rulesOfParams(params, target === "." ? around.owner : around.whole(target), around);
    },
  });
}

export const svcb = serviceType("SVCB");
