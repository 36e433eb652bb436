/**
 * Where a request ends (RFC 9112 §6 and §7). What two servers in a row could read in two ways is refused, or the
 * connection closes, so that no byte of a body is ever read as a request.
 */
import { ask, casesOf, get, hostLine, post, type RawCase, type Row } from "./raw-case.ts";

/** What a smuggler hides. If it were read, it would be answered. */
const hidden = ask("GET /hidden HTTP/1.1");
const hiddenChunk = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
const length = (value: string): string => post("hello", `Content-Length: ${value}`);
const coding = (...values: readonly string[]): string =>
  post("0\r\n\r\n", ...values.map((value) => `Transfer-Encoding: ${value}`));
const chunks = (body: string): string => post(body, "Transfer-Encoding: chunked");

const lengths: readonly Row[] = [
  ["Content-Length: 0", "9110 §8.6", get("Content-Length: 0"), "200", "open"],
  ["a body of GET", "9110 §9.3.1", `${get("Content-Length: 5")}hello`, "200", "either"],
  ["a body of HEAD", "9110 §9.3.2", `${ask("HEAD /a HTTP/1.1", "Content-Length: 5")}hello`, "200-", "either"],
  ["a body of POST", "9112 §6.3", length("5"), "405", "either"],
  ["POST without a body", "9112 §6.3", post(""), "405", "either"],
  ["leading zeros", "9110 §8.6", length("0005"), "405|400", "either"],
  ["whitespace around the length", "9112 §5", length(" \t5 "), "405", "either"],
  ["a plus sign", "9110 §8.6", length("+5"), "400", "closed"],
  ["a minus sign", "9110 §8.6", length("-5"), "400", "closed"],
  ["a hexadecimal length", "9110 §8.6", length("0x5"), "400", "closed"],
  ["a letter behind the length", "9110 §8.6", length("5a"), "400", "closed"],
  ["a fraction", "9110 §8.6", length("5.0"), "400", "closed"],
  ["an empty length", "9110 §8.6", length(""), "400", "closed"],
  ["two numbers", "9110 §8.6", length("5 5"), "400", "closed"],
  ["a list of equal lengths", "9112 §6.3", length("5, 5"), "400|405", "either"],
  ["a list of lengths", "9112 §6.3", length("5, 6"), "400", "closed"],
  ["two equal lengths", "9112 §6.3", post("hello", "Content-Length: 5", "Content-Length: 5"), "400|405", "either"],
  ["two lengths", "9112 §6.3", post("hello", "Content-Length: 5", "Content-Length: 6"), "400", "closed"],
  [
    "two lengths, 0 first",
    "9112 §6.3",
    post(hidden, "Content-Length: 0", `Content-Length: ${hidden.length}`),
    "400",
    "closed",
  ],
  ["a length of 2⁶⁴", "9110 §8.6", length("18446744073709551616"), "400|413", "closed"],
  ["a length of 30 digits", "9110 §8.6", length("9".repeat(30)), "400|413", "closed"],
  ["a space before the colon of the length", "9112 §5.1", post("hello", "Content-Length : 5"), "400", "closed"],
  ["a length on the next line", "9112 §5.2", post("hello", "Content-Length:\r\n 5"), "400|405", "either"],
  ["a field that only looks like the length", "9110 §5.1", get("Content_Length: 5"), "200", "open"],
  ["a body that does not arrive, then the end", "9112 §8", post("he", "Content-Length: 5"), "405|400", "half-closed"],
];

const codings: readonly Row[] = [
  ["chunked", "9112 §7.1", coding("chunked"), "405", "either"],
  ["chunked, of GET", "9112 §7.1", `${get("Transfer-Encoding: chunked")}0\r\n\r\n`, "200", "either"],
  ["Chunked", "9112 §7", coding("Chunked"), "405", "either"],
  ["whitespace around chunked", "9112 §5", coding(" \tchunked "), "405", "either"],
  ["an empty member before chunked", "9110 §5.6.1", coding(", chunked"), "405|400|501", "either"],
  ["gzip", "9112 §6.3", coding("gzip"), "400|501", "closed"],
  ["identity", "9112 §6.3", coding("identity"), "400|501", "closed"],
  ["an empty coding", "9112 §6.3", coding(""), "400|501", "closed"],
  ["chunked, gzip", "9112 §6.3", coding("chunked, gzip"), "400|501", "closed"],
  ["chunked, identity", "9112 §6.3", coding("chunked, identity"), "400|501", "closed"],
  ["chunked on the first of two lines", "9112 §6.3", coding("chunked", "gzip"), "400|501", "closed"],
  ["gzip, chunked", "9112 §6.1", coding("gzip, chunked"), "501|400", "closed"],
  ["gzip, chunked, of GET", "9112 §6.1", `${get("Transfer-Encoding: gzip, chunked")}0\r\n\r\n`, "501|400", "closed"],
  [
    "gzip, chunked, of HEAD",
    "9112 §6.1",
    ask("HEAD /a HTTP/1.1", "Transfer-Encoding: gzip, chunked"),
    "501-|400-",
    "closed",
  ],
  ["gzip and chunked on two lines", "9112 §6.1", coding("gzip", "chunked"), "501|400", "closed"],
  ["identity, chunked", "9112 §6.1", coding("identity, chunked"), "501|400", "closed"],
  ["an unknown coding before chunked", "9112 §6.1", coding("x, chunked"), "501|400", "closed"],
  ["chunked twice", "9112 §6.1", coding("chunked, chunked"), "400|501", "closed"],
  ["chunked on two lines", "9112 §6.1", coding("chunked", "chunked"), "400|501", "closed"],
  ["a coding that begins like chunked", "9112 §6.3", coding("chunkedx"), "400|501", "closed"],
  ["a coding that ends like chunked", "9112 §6.3", coding("xchunked"), "400|501", "closed"],
  ["a parameter of chunked", "9112 §7.1", coding("chunked;x=y"), "400|501", "closed"],
  ["a quoted chunked", "9112 §7", coding('"chunked"'), "400|501", "closed"],
  ["a vertical tab before chunked", "9112 §5", coding("\x0bchunked"), "400|501", "closed"],
  ["a NUL behind chunked", "9110 §5.5", coding("chunked\0"), "400|501", "closed"],
  [
    "a space before the colon of the coding",
    "9112 §5.1",
    post("0\r\n\r\n", "Transfer-Encoding : chunked"),
    "400",
    "closed",
  ],
  ["a coding on the next line", "9112 §5.2", coding("\r\n chunked"), "400|501|405", "closed"],
  ["a coding on a folded line", "9112 §5.2", post("", "X: y\r\n Transfer-Encoding: chunked"), "400|405", "either"],
  ["a field that only looks like the coding", "9110 §5.1", get("Transfer_Encoding: chunked"), "200", "open"],
  ["a coding of HTTP/1.0", "9112 §6.1", ask("POST /a HTTP/1.0", "Transfer-Encoding: chunked"), "400|405|501", "closed"],
  [
    "a coding of GET in HTTP/1.0",
    "9112 §6.1",
    `${ask("GET /a HTTP/1.0", "Transfer-Encoding: chunked")}0\r\n\r\n`,
    "400|200|501",
    "closed",
  ],
];

const chunkRows: readonly Row[] = [
  ["a chunk", "9112 §7.1", chunks("5\r\nhello\r\n0\r\n\r\n"), "405", "either"],
  ["an extension", "9112 §7.1.1", chunks("5;x=y\r\nhello\r\n0\r\n\r\n"), "405", "either"],
  ["a trailer", "9112 §7.1.2", chunks("0\r\nX: y\r\n\r\n"), "405", "either"],
  ["a trailer that frames", "9110 §6.5.1", chunks("0\r\nContent-Length: 5\r\n\r\n"), "405|400", "either"],
  ["a size that overflows", "9112 §7.1", chunks("fffffffffffffffff\r\nhello\r\n0\r\n\r\n"), "405|400|413", "closed"],
  ["a size of -1", "9112 §7.1", chunks("-1\r\nhello\r\n0\r\n\r\n"), "405|400", "closed"],
  ["a size of 0x5", "9112 §7.1", chunks("0x5\r\nhello\r\n0\r\n\r\n"), "405|400", "closed"],
  ["no size", "9112 §7.1", chunks("\r\nhello\r\n0\r\n\r\n"), "405|400", "closed"],
  ["no line end behind the data", "9112 §7.1", chunks("5\r\nhello0\r\n\r\n"), "405|400", "closed"],
  ["LF behind the size", "9112 §7.1", chunks("5\nhello\r\n0\r\n\r\n"), "405|400", "either"],
  ["LF in an extension", "9112 §7.1.1", chunks("5;\nhello\r\n0\r\n\r\n"), "405|400", "either"],
  ["CR in an extension", "9112 §7.1.1", chunks("5;x\ry\r\nhello\r\n0\r\n\r\n"), "405|400", "either"],
];

const smuggling: readonly Row[] = [
  [
    "CL.TE",
    "9112 §6.1",
    post(`0\r\n\r\n${hidden}`, `Content-Length: ${hidden.length + 5}`, "Transfer-Encoding: chunked"),
    "400|405",
    "closed",
  ],
  [
    "TE.CL",
    "9112 §6.1",
    post(`4f\r\n${hidden}`, "Transfer-Encoding: chunked", "Content-Length: 4"),
    "400|405",
    "closed",
  ],
  [
    "CL.TE of GET",
    "9112 §6.1",
    `${get("Content-Length: 5", "Transfer-Encoding: chunked")}0\r\n\r\n${hidden}`,
    "400|200",
    "closed",
  ],
  [
    "CL: 0 and TE",
    "9112 §6.1",
    `${get("Content-Length: 0", "Transfer-Encoding: chunked")}0\r\n\r\n${hidden}`,
    "400|200",
    "closed",
  ],
  ["TE.TE, the second unknown", "9112 §6.3", `${coding("chunked", "x")}${hidden}`, "400|501", "closed"],
  ["TE.TE, the first unknown", "9112 §6.1", `${coding("x", "chunked")}${hidden}`, "501|400", "closed"],
  [
    "TE.TE, the second hidden by a space",
    "9112 §5.1",
    post(`0\r\n\r\n${hidden}`, "Transfer-Encoding: chunked", "Transfer-Encoding : x"),
    "400",
    "closed",
  ],
  ["CL.0 of GET", "9112 §6.3", get(`Content-Length: ${hidden.length}`) + hidden, "200", "either"],
  ["CL.0 of POST", "9112 §6.3", post(hidden, `Content-Length: ${hidden.length}`), "405", "either"],
  [
    "CL.0 of OPTIONS",
    "9112 §6.3",
    ask("OPTIONS /a HTTP/1.1", `Content-Length: ${hidden.length}`) + hidden,
    "405",
    "either",
  ],
  [
    "CL.0 of a HEAD",
    "9112 §6.3",
    ask("HEAD /a HTTP/1.1", `Content-Length: ${hidden.length}`) + hidden,
    "200-",
    "either",
  ],
  [
    "CL.0 with Expect",
    "9110 §10.1.1",
    get("Expect: 100-continue", `Content-Length: ${hidden.length}`) + hidden,
    "200",
    "either",
  ],
  [
    "CL.0 with Upgrade",
    "9110 §7.8",
    get("Connection: Upgrade", "Upgrade: x", `Content-Length: ${hidden.length}`) + hidden,
    "200",
    "either",
  ],
  [
    "CL of HTTP/1.0 with keep-alive",
    "9112 §6.3",
    ask("GET /a HTTP/1.0", "Connection: keep-alive", `Content-Length: ${hidden.length}`) + hidden,
    "200",
    "either",
  ],
  [
    "TE.0 of OPTIONS",
    "9112 §6.3",
    `${ask("OPTIONS /a HTTP/1.1", "Transfer-Encoding: chunked")}${hiddenChunk}`,
    "405",
    "either",
  ],
  ["a request within a chunk", "9112 §7.1", `${get("Transfer-Encoding: chunked")}${hiddenChunk}`, "200", "either"],
  [
    "a coding behind a bare LF",
    "9112 §2.2",
    post(`0\r\n\r\n${hidden}`, "X: y\nTransfer-Encoding: chunked", `Content-Length: ${hidden.length + 5}`),
    "400|405",
    "either",
  ],
  [
    "a coding behind a bare CR",
    "9112 §2.2",
    post(hidden, "X: y\rTransfer-Encoding: chunked", `Content-Length: ${hidden.length}`),
    "400|405",
    "either",
  ],
  ["a length behind NUL", "9110 §5.5", post(hidden, `X: y\0\r\nContent-Length: ${hidden.length}`), "400", "closed"],
  [
    "a second request behind a bare CR",
    "9112 §2.2",
    `GET /a HTTP/1.1\r\n${hostLine}\r\n\r${hidden}`,
    "400|200",
    "either",
  ],
  [
    "a header section that ends in CR LF CR",
    "9112 §2.2",
    `GET /a HTTP/1.1\r\n${hostLine}\r\n\rX: y\r\n\r\n`,
    "400",
    "closed",
  ],
];

export const framings: readonly RawCase[] = casesOf([...lengths, ...codings, ...chunkRows, ...smuggling]);
