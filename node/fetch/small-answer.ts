/**
 * One GET whose answer is small. Excess is refused while it is read, not afterwards: a body in chunks of one byte each,
 * or endless interim responses, would cost the asker's thread far more than the sender.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Dispatcher } from "undici";
import { NearcastError } from "#base/errors.ts";
import { interimResponsesMax } from "#base/interim-responses.ts";

/** More than a body of a few hundred KiB needs if it comes in packets of the smallest usual size. */
const piecesMax = 1024;

export interface SmallAnswer {
  readonly statusCode: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

/**
 * @param bytesMax of the body
 * @throws NearcastError BODY_TOO_LARGE, also for too many pieces or interim responses; the signal's reason; undici's
 */
export function askSmall(
  dispatcher: Dispatcher,
  wanted: Pick<Dispatcher.DispatchOptions, "origin" | "path" | "headers" | "reset"> & { servername?: string },
  bytesMax: number,
  signal: AbortSignal,
): Promise<SmallAnswer> {
  return new Promise((resolve, reject) => {
    let interim = 0;
    const chunks: Buffer[] = [];
    let length = 0;
    let head: Omit<SmallAnswer, "body"> | undefined;
    let stop = (): void => undefined;
    const abort = (): void => {
      stop();
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", abort, { once: true });
    dispatcher.dispatch(
      { ...wanted, method: "GET" },
      {
        onRequestStart(controller) {
          stop = () => controller.abort(signal.reason as Error);
          if (signal.aborted) stop();
        },
        onResponseStart(controller, statusCode, headers) {
          if (statusCode < 200) {
            interim += 1;
            if (interim > interimResponsesMax) {
              const detail = `more than ${interimResponsesMax} interim responses came`;
              controller.abort(new NearcastError("BODY_TOO_LARGE", detail));
            }
            return;
          }
          head = { statusCode, headers };
        },
        onResponseData(controller, chunk) {
          chunks.push(chunk);
          length += chunk.length;
          if (length <= bytesMax && chunks.length <= piecesMax) return;
          const bounds = `${bytesMax} bytes in ${piecesMax} pieces`;
          controller.abort(new NearcastError("BODY_TOO_LARGE", `the answer has more than ${bounds}`));
        },
        onResponseEnd() {
          signal.removeEventListener("abort", abort);
          if (head !== undefined) resolve({ ...head, body: Buffer.concat(chunks) });
        },
        onResponseError(_controller, error) {
          signal.removeEventListener("abort", abort);
          reject(error);
        },
      },
    );
  });
}
