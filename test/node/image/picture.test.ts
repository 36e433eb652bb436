import assert from "node:assert/strict";
import { it } from "node:test";
import { sniffPicture } from "../../../node/image/picture.ts";
import { animation, noise, plain } from "./pictures.ts";

it("the type is told from the first bytes of what encoders write", async () => {
  for (const type of ["jpeg", "png", "webp", "gif", "avif"] as const) {
    assert.equal(sniffPicture(await noise(20, 20).toFormat(type).toBuffer()), type);
  }
  assert.equal(sniffPicture(await animation("webp")), "webp");
  assert.equal(sniffPicture(await plain(4, 4, "#fff").tiff().toBuffer()), undefined);
});

const rows: [title: string, bytes: Buffer, type: string | undefined][] = [
  ["no bytes", Buffer.alloc(0), undefined],
  ["one byte", Buffer.from([0xff]), undefined],
  ["text", Buffer.from("hello, this is a text named photo.jpg"), undefined],
  ["SVG", Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'), undefined],
  ["RIFF with sound", Buffer.from("RIFF\0\0\0\0WAVE"), undefined],
  ["a HEIC of a telephone", Buffer.from("\0\0\0\x18ftypheic\0\0\0\0mif1heic", "latin1"), undefined],
  ["AVIF as compatible brand", Buffer.from("\0\0\0\x1cftypmif1\0\0\0\0miafavif", "latin1"), "avif"],
  ["an AVIF sequence", Buffer.from("\0\0\0\x14ftypavis\0\0\0\0avis", "latin1"), "avif"],
  ["avif as the version number", Buffer.from("\0\0\0\x14ftypheicavifheic", "latin1"), undefined],
  ["avif behind the box", Buffer.from("\0\0\0\x14ftypheic\0\0\0\0heicavif", "latin1"), undefined],
  ["a box that says it is huge", Buffer.from("\xff\xff\xff\xffftypheic\0\0\0\0", "latin1"), undefined],
  ["a box cut short", Buffer.from("\0\0\0\x14ftypavif", "latin1"), undefined],
];
for (const [title, bytes, type] of rows) {
  it(`${title}: ${type ?? "nothing known"}`, () => {
    assert.equal(sniffPicture(bytes), type);
  });
}
