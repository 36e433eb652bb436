/** Request lines: methods, versions, whitespace, and bytes that are no request line (RFC 9112 §2 and §3). */
import { ask, casesOf, get, hostLine, type RawCase, type Row } from "./raw-case.ts";

const line = (requestLine: string): string => ask(requestLine);

const lines: readonly Row[] = [
  ["GET", "9110 §9.3.1", get(), "200", "open"],
  ["HEAD", "9110 §9.3.2", line("HEAD /a HTTP/1.1"), "200-", "open"],
  ["an empty line first", "9112 §2.2", `\r\n${get()}`, "200", "open"],
  ["two empty lines first", "9112 §2.2", `\r\n\r\n${get()}`, "200|400", "either"],
  ["an empty line first that ends with LF", "9112 §2.2", `\n${get()}`, "200|400", "either"],
  ["an empty line between two requests", "9112 §2.2", `${get()}\r\n${get()}`, "200 200", "open"],
  ["a space first", "9112 §3", ` ${get()}`, "400", "closed"],
  ["two spaces before the target", "9112 §3", line("GET  /a HTTP/1.1"), "400|200", "either"],
  ["two spaces before the version", "9112 §3", line("GET /a  HTTP/1.1"), "400|200", "either"],
  ["two spaces behind another method", "9112 §3", line("OPTIONS  /a HTTP/1.1"), "400|405|200", "either"],
  ["two spaces behind POST", "9112 §3", line("POST  /a HTTP/1.1"), "400|405", "either"],
  ["a space behind the version", "9112 §3", line("GET /a HTTP/1.1 "), "400|200", "either"],
  ["tabs in place of spaces", "9112 §3", line("GET\t/a\tHTTP/1.1"), "400|200", "either"],
  ["a vertical tab in place of a space", "9112 §3", line("GET\x0b/a HTTP/1.1"), "400|200", "either"],
  ["a space in the target", "9112 §3.2", line("GET /a b HTTP/1.1"), "400|404", "either"],
  ["a tab in the target", "9112 §3.2", line("GET /a\tb HTTP/1.1"), "400", "closed"],
  ["NUL in the target", "9112 §3.2", line("GET /a\0b HTTP/1.1"), "400", "closed"],
  ["DEL in the target", "9112 §3.2", line("GET /a\x7fb HTTP/1.1"), "400|404", "either"],
  ["no target", "9112 §3", line("GET HTTP/1.1"), "400", "closed"],
  ["only a method", "9112 §3", "GET\r\n\r\n", "400", "closed"],
  ["a bare CR in the line", "9112 §2.2", line("GET /a\rHTTP/1.1"), "400", "closed"],
  ["a bare CR behind the version", "9112 §2.2", line("GET /a HTTP/1.1\r"), "400", "closed"],
  ["lines that end with LF", "9112 §2.2", `GET /a HTTP/1.1\n${hostLine}\n\n`, "400|200", "either"],
  ["a word", "9112 §3", "hello\r\n\r\n", "400", "closed"],
  ["a TLS client hello", "9112 §3", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", "400", "closed"],
  ["NUL bytes", "9112 §3", "\0".repeat(64), "400", "closed"],
  ["a response", "9112 §3", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "400", "closed"],
  ["a target of 8193 bytes", "9112 §3", line(`GET /${"a".repeat(8192)} HTTP/1.1`), "414", "either"],
  ["a target of 100 KB", "9112 §3", line(`GET /${"a".repeat(100_000)} HTTP/1.1`), "431|414", "closed"],
  ["half a request line, then the end", "9112 §8", "GET /a HT", "400|none", "half-closed"],
  [
    "half a header section, then the end",
    "9112 §8",
    `GET /a HTTP/1.1\r\n${hostLine}\r\nX: `,
    "400|none",
    "half-closed",
  ],
];

const versions: readonly Row[] = [
  ["HTTP/1.0", "9112 §9.3", line("GET /a HTTP/1.0"), "200", "closed"],
  ["HTTP/1.0 with keep-alive", "9112 §9.3", ask("GET /a HTTP/1.0", "Connection: keep-alive"), "200", "either"],
  ["HTTP/1.2, to be taken for 1.1", "9110 §2.5", line("GET /a HTTP/1.2"), "505|200", "either"],
  ["HTTP/0.9, without a version", "9112 §3", "GET /a\r\n\r\n", "505|400", "closed"],
  ["HTTP/0.9, by name", "9110 §15.6.6", line("GET /a HTTP/0.9"), "505", "closed"],
  ["HTTP/2.0", "9110 §15.6.6", line("GET /a HTTP/2.0"), "505", "closed"],
  ["HTTP/3.7", "9110 §15.6.6", line("GET /a HTTP/3.7"), "505", "closed"],
  ["HTTP/9.9", "9110 §15.6.6", line("GET /a HTTP/9.9"), "505", "closed"],
  ["HTTP/2 with prior knowledge", "9113 §3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505|400", "closed"],
  ["a version of three digits", "9112 §2.3", line("GET /a HTTP/1.10"), "400|505", "closed"],
  ["a version with a leading zero", "9112 §2.3", line("GET /a HTTP/01.1"), "400|505", "closed"],
  ["a version without a minor", "9112 §2.3", line("GET /a HTTP/1"), "400|505", "closed"],
  ["a version without its last digit", "9112 §2.3", line("GET /a HTTP/1."), "400|505", "closed"],
  ["a version of letters", "9112 §2.3", line("GET /a HTTP/x.y"), "400|505", "closed"],
  ["a version in lower case", "9112 §2.3", line("GET /a http/1.1"), "400|505", "closed"],
  ["another protocol", "9112 §2.3", line("GET /a HTTPS/1.1"), "400|505", "closed"],
  ["RTSP", "9112 §2.3", line("GET /a RTSP/1.0"), "400|505", "closed"],
  ["a space in the version", "9112 §2.3", line("GET /a HTTP/ 1.1"), "400|505", "closed"],
];

const methods: readonly Row[] = [
  ...["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "PURGE"].map((method): Row => [
    method,
    "9110 §15.5.6",
    line(`${method} /a HTTP/1.1`),
    "405",
    "either",
  ]),
  ["QUERY without a body", "9110 §15.5.6", line("QUERY /a HTTP/1.1"), "405|400", "either"],
  ["OPTIONS of the whole server", "9110 §9.3.7", line("OPTIONS * HTTP/1.1"), "405|200|204|400", "either"],
  ["CONNECT", "9110 §9.3.6", line("CONNECT assets.cdn.test:443 HTTP/1.1"), "501|405|400", "closed"],
  ["CONNECT with a path", "9112 §3.2.3", line("CONNECT /a HTTP/1.1"), "501|405|400", "closed"],
  ["an unknown method", "9110 §9.1", line("BREW /a HTTP/1.1"), "501|405|400", "either"],
  ["a method in lower case", "9110 §9.1", line("get /a HTTP/1.1"), "501|405|400", "either"],
  ["a longer GET", "9110 §9.1", line("GETS /a HTTP/1.1"), "501|405|400", "either"],
  ["a shorter GET", "9110 §9.1", line("GE /a HTTP/1.1"), "501|405|400", "either"],
  ["a method that is no token", "9110 §9.1", line("G@T /a HTTP/1.1"), "400|405|501", "closed"],
  ["a method of 10 KB", "9110 §9.1", line(`${"A".repeat(10_000)} /a HTTP/1.1`), "400|405|414|501", "either"],
];

export const requestLines: readonly RawCase[] = casesOf([...lines, ...versions, ...methods]);
