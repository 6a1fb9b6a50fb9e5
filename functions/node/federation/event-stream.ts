/** The `data` of each event in a `text/event-stream`, given piece by piece (WHATWG HTML, server-sent events). */
export async function* eventData(parts: AsyncIterable<string>): AsyncGenerator<string> {
  /** The line that has not ended, in pieces: joined once, so that a long line in small pieces costs no more than in one. */
  let pieces: string[] = [];
  let held = "";
  let data: string[] = [];
  for await (const part of parts) {
    let text = held + part;
    // A CR at the end may be the first half of CRLF: it waits for what follows.
    held = text.endsWith("\r") ? "\r" : "";
    if (held) text = text.slice(0, -1);
    const lines = text.split(/\r\n|\n|\r/);
    pieces.push(lines.pop() as string);
    if (lines.length === 0) continue;
    lines[0] = pieces.slice(0, -1).join("") + lines[0];
    pieces = pieces.slice(-1);
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) yield data.join("\n");
        data = [];
      } else if (line === "data") data.push("");
      else if (line.startsWith("data:")) data.push(line.slice(line.charAt(5) === " " ? 6 : 5));
    }
  }
  // The specification drops an event that the end of the stream cut off.
}
