/**
 * The scans of a JPEG file: how often a decoder goes over the coefficients of all its pixels (ITU-T T.81, section
 * B.2.3). A progressive file usually has ten; a hostile one has as many as its size allows. Pure, and linear in time.
 */

const startOfScan = 0xda;
const endOfImage = 0xd9;

/**
 * @param bytes that begin as a JPEG
 * @returns at least 1, at most `scansMax`
 */
export function countJpegScans(bytes: Buffer, scansMax: number): number {
  let scans = 0;
  let at = 2; // behind the start of the image
  while (scans < scansMax) {
    at = bytes.indexOf(0xff, at);
    const marker = bytes[at + 1];
    if (at < 0 || marker === undefined || marker === endOfImage) break;
    if (marker === 0xff) {
      at += 1; // a fill byte (B.1.1.2)
    } else if (standsAlone(marker)) {
      at += 2;
    } else {
      if (marker === startOfScan) scans += 1;
      // A segment has its length in front; the search goes on behind it, in a scan's coded data.
      at += 2 + (at + 4 <= bytes.length ? bytes.readUInt16BE(at + 2) : 0);
    }
  }
  return Math.max(1, scans);
}

/** A stuffed zero, a restart marker, TEM or a start of image: no segment follows. */
function standsAlone(marker: number): boolean {
  return marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8);
}
