/** More than any schema or document has, and far less than it takes to overflow the stack of code that walks it. */
const maxDepth = 256;
const [quote, backslash, openList, closeList, openObject, closeObject] = Array.from('"\\[]{}', (char) =>
  char.charCodeAt(0),
);

/** JSON that can be read but not written again, since `JSON.stringify` and every walk over it run out of stack. */
export class JsonTooDeep extends SyntaxError {
  override readonly name = "JsonTooDeep";
}

/** Reads JSON text that somebody else wrote. Throws `SyntaxError` for what is not JSON, {@link JsonTooDeep} for more than 256 levels. */
export function parseJson(text: string): unknown {
  // An opening and a closing character for each level.
  if (text.length > 2 * maxDepth && depthOver(text, maxDepth))
    throw new JsonTooDeep(`JSON nested over ${maxDepth} levels`);
  return JSON.parse(text);
}

function depthOver(text: string, limit: number): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    switch (text.charCodeAt(at)) {
      case openList:
      case openObject:
        depth += 1;
        if (depth > limit) return true;
        break;
      case closeList:
      case closeObject:
        depth -= 1;
        break;
      case quote:
        at = endOfString(text, at);
    }
  }
  return false;
}

/** The index of the quote that ends the string which starts at `at`; the text's length where none does. */
function endOfString(text: string, at: number): number {
  for (;;) {
    at = text.indexOf('"', at + 1);
    if (at < 0) return text.length;
    let escapes = 0;
    while (text.charCodeAt(at - 1 - escapes) === backslash) escapes += 1;
    if (escapes % 2 === 0) return at;
  }
}
