/** The `data` of each event in a `text/event-stream`, given piece by piece (WHATWG HTML, server-sent events). */
export async function* eventData(parts: AsyncIterable<string>): AsyncGenerator<string> {
  let rest = "";
  let data: string[] = [];
  for await (const part of parts) {
    // A lone CR at the end may be the first half of CRLF: it waits for what follows.
    const text = rest + part;
    const lines = text.split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() as string;
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
