/**
 * Why a decoder made nothing of a picture. The codes are those of the error catalogue that a decoder process may
 * claim; the pool turns a failure into a NearcastError on its side of the pipe.
 */
export const pictureFailureCodes = [
  "UNSUPPORTED_IMAGE",
  "BROKEN_IMAGE",
  "TOO_MANY_PIXELS",
  "DECODER_TIMEOUT",
  "DECODER_MEMORY",
] as const;
export type PictureFailureCode = (typeof pictureFailureCodes)[number];

export class PictureFailure extends Error {
  readonly code: PictureFailureCode;
  constructor(code: PictureFailureCode, detail: string) {
    super(detail);
    this.name = "PictureFailure";
    this.code = code;
  }
}
