/** errors.md: every error code of the catalogue, and what to do about it. */
import { type ErrorCode, errorCatalogue, type ErrorSource } from "#base/errors.ts";
import { code, wrapped } from "./wrap.ts";

const advice = {
  BAD_REQUEST: "Send a well-formed HTTP/1.1 request. `detail` says what could not be read.",
  BAD_PARAMETER: "Correct the parameter that `detail` names; it also gives the allowed values.",
  BAD_PATH: "Use a path that is a valid name after decoding: at most 500 bytes, without empty, `.` or `..` segments.",
  BAD_FLEET:
    "Run `nearcast fleet check fleet.yaml`. `problems` lists each mistake with its place and the allowed values.",
  UNKNOWN_SITE: "Add the site to the fleet document first, or correct `--site`.",
  UNAUTHORIZED:
    "Send `Authorization: Bearer TOKEN` with a valid token. `nearcast token list` lists the valid tokens by ID.",
  FORBIDDEN: "Use the other token: `detail` says whether the route needs the edge token or the writer token.",
  NOT_FOUND: "Check the name. `nearcast ls PREFIX` lists the pictures. An edge caches a 404 for `negativeSeconds`.",
  UNKNOWN_HOST: "Add the host to `hosts` of the fleet document. For an admin listener, add the name to `admin.hosts`.",
  METHOD_NOT_ALLOWED: "Use a method from the `Allow` field.",
  REQUEST_TIMEOUT: "Send the request faster: an edge waits 10 s for the head of a request.",
  CONFLICT: "`detail` names the conflict. Read the current state, then try again.",
  DANGEROUS_FLEET: "Read `dangers`. To publish the document anyway, run `nearcast fleet apply` with `--force`.",
  NODE_CONFLICT:
    "`detail` names the conflict: the name or an address belongs to another node, or the node is in the document.",
  GONE: "Restore the picture with `nearcast rollback NAME`, or remove its URL from your pages.",
  PRECONDITION_FAILED:
    "The resource is not in the state that the request requires. Read it again, then repeat the request with its ETag.",
  BODY_TOO_LARGE: "Send a smaller body, or raise `limits.sourceBytesMax` of the fleet document.",
  URI_TOO_LONG: "Shorten the URL to 8192 characters.",
  UNSUPPORTED_IMAGE: "Upload JPEG, PNG, WebP, GIF or AVIF.",
  RANGE_NOT_SATISFIABLE: "Request a range inside the body; `Content-Range` has its length.",
  BROKEN_IMAGE: "Save the picture with another program, then upload it again.",
  TOO_MANY_PIXELS: "Upload a smaller picture, or raise `limits.sourcePixelsMax` of the fleet document.",
  HEADERS_TOO_LARGE: "Send fewer or shorter ones.",
  NOT_IMPLEMENTED:
    "Send the request without CONNECT, without an unknown method, and without transfer codings other than `chunked`.",
  VERSION_NOT_SUPPORTED: "Send HTTP/1.1.",
  NOT_CACHED: "The request has the directive `only-if-cached`. Without it, the edge fetches the picture or the file.",
  LOOP_DETECTED: "The `origin` of an assets host leads back to the fleet. Correct it in the fleet document.",
  OVERLOADED:
    "Wait for the time in `Retry-After`. The log says what is overloaded: if renderings wait, add decoders or nodes; " +
    "if bodies are waiting for slow clients, raise `delivery.inFlightBytes`; " +
    "if requests are waiting to be fetched, add processes or nodes.",
  NOT_READY: "`/readyz` on the admin listener lists the reasons. A node that is starting or draining is not ready.",
  ORIGIN_UNREACHABLE:
    "Check that the origin, or the origin of the assets host, is running and reachable from this node.",
  ORIGIN_TIMEOUT:
    "Check the load of the origin. The time limits are `limits.originTimeoutMs` and the `timeoutMs` of an assets host.",
  ORIGIN_BUSY:
    "Retry after the time in `Retry-After`. If it happens often, check why the origin is slow; " +
    "see [Origins](limits.md#origins).",
  ORIGIN_NOT_ALLOWED:
    "If the origin is yours, add its network to `assets.privateNetworks` of the edge configuration. The log " +
    "names the address.",
  ORIGIN_BAD_ANSWER:
    "Check that `origin.url` leads to a nearcast origin. If it was the origin of an assets host: it broke off, sent " +
    "invalid HTTP, a version other than 1.0 and 1.1, or a wrong length, failed with a response for one client only " +
    "(`Set-Cookie`), or sent a status that does not fit the request: 205, 412, or 206 and 416 without a range.",
  ORIGIN_REFUSED: "Copy the current edge token to the edge; see [Rotate secrets](runbook.md#rotate-secrets).",
  PEER_UNREACHABLE: "`nearcast status` shows which node is down. Nodes retry with another node automatically.",
  DECODER_CRASHED: "The log names the picture under the request ID. The edge tries the variant again after 30 s.",
  NETWORK_OVERLOADED:
    "Request fewer new variants at a time, or smaller ones. Other networks and stored pictures are not affected.",
  SOURCE_QUARANTINED:
    "The log names the picture, its last failure and the time left. Upload a repaired version: it is rendered at once.",
  DECODER_TIMEOUT: "The log names the picture under the request ID. The limit is `limits.renderTimeoutMs`.",
  DECODER_MEMORY: "The log names the picture under the request ID. The limit is `decoders.memoryBytes`.",
  CANNOT_LISTEN: "Another program uses the port, or this machine does not have the address.",
  DISK_FAILED: "Check the log and the free space of `dataDir`.",
  INTERNAL: "This is a bug. Report it with the log lines of the same request ID.",
} as const satisfies Record<ErrorCode, string>;

const groups: readonly { title: string; sources: readonly ErrorSource[] }[] = [
  { title: "The request", sources: ["client"] },
  { title: "The origin", sources: ["origin"] },
  { title: "The node", sources: ["internal", "disk"] },
];

const head = `# Errors

<!-- Generated by \`npm run docs\` from the error catalogue. Edit deploy/docs/errors-page.ts, not this page. -->

This page lists the error codes of edges and origin. Over HTTP, an error has the type \`application/problem+json\`
(RFC 9457):

\`\`\`json
{
  "type": "urn:nearcast:error:BAD_PARAMETER",
  "title": "A parameter has a value outside its range",
  "status": 400,
  "code": "BAD_PARAMETER",
  "requestId": "ccfedb296af3-16",
  "detail": "w must be a whole number of pixels from 1 to 8192, or a fraction above 0 and below 1 (got \\"abc\\")"
}
\`\`\`

Programs should use \`code\`, which never changes. Errors with a status of 500 or more have no \`detail\`; the log has
it under the same request ID. *Retry* marks errors after which the same request may succeed later.

When the origin returns an error, the command line prints it and exits with status 4, or with 1 if the status of the
error is 500 or more. [Commands](commands.md) lists the exit statuses.
`;

export function errorsPage(): string {
  const parts = [head];
  for (const { title, sources } of groups) {
    parts.push(`## ${title}\n`);
    for (const [name, kind] of Object.entries(errorCatalogue)) {
      if (!sources.includes(kind.source)) continue;
      const retry = kind.retryable ? " *Retry.*" : "";
      parts.push(wrapped(`${code(name)}, ${kind.status}: ${kind.title}.${retry} ${advice[name as ErrorCode]}`, "- "));
    }
    parts.push("");
  }
  return parts.join("\n");
}
