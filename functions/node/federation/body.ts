/** A body larger than its reader allows. */
export class BodyTooLarge extends Error {
  override readonly name = "BodyTooLarge";
}

/** The text of a request or response body. Throws {@link BodyTooLarge} without reading on when it has more than `limit` bytes. */
export async function readText(message: Request | Response, limit: number): Promise<string> {
  const declared = Number(message.headers.get("content-length") ?? 0);
  if (declared > limit) {
    leave(message.body?.cancel());
    throw new BodyTooLarge(`the body has ${declared} bytes; the limit is ${limit}`);
  }
  // What has a length and is not compressed has no more bytes than it says, and runtimes read it whole at a fraction of the cost.
  if (declared > 0 && !message.headers.has("content-encoding")) {
    const text = await message.text();
    if (text.length > limit) throw new BodyTooLarge(`the body has more than ${limit} bytes`);
    return text;
  }
  let text = "";
  for await (const part of textParts(message, limit)) text += part;
  return text;
}

/** The text of a body, piece by piece as it arrives, under the same limit. */
export async function* textParts(message: Request | Response, limit: number): AsyncGenerator<string> {
  if (!message.body) return;
  const reader = message.body.getReader();
  const decoder = new TextDecoder();
  let bytes = 0;
  let complete = false;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      bytes += value.byteLength;
      if (bytes > limit) throw new BodyTooLarge(`the body has more than ${limit} bytes`);
      yield decoder.decode(value, { stream: true });
    }
    complete = true;
    yield decoder.decode();
  } finally {
    // Also reached when the consumer stops early: the peer learns that nobody listens.
    if (!complete) leave(reader.cancel());
  }
}

/** Nobody waits for a body that is given up: how it takes the news changes nothing, and it may never answer. */
function leave(cancelled: Promise<void> | undefined): void {
  cancelled?.catch(() => undefined);
}
