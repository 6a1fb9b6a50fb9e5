const sentinel = /^=\?base64\?([A-Za-z0-9+/]*={0,2})\?=$/;
const plain = /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/;

/** An `Mcp-Name` value: as it is where a header can carry it, else in base64 of its UTF-8 (MCP 2026-07-28, transports). */
export function encodeHeaderValue(text: string): string {
  if (plain.test(text) && !sentinel.test(text)) return text;
  return `=?base64?${btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""))}?=`;
}

/** Reverses {@link encodeHeaderValue}; undefined when the base64 does not hold UTF-8. */
export function decodeHeaderValue(value: string): string | undefined {
  const encoded = sentinel.exec(value)?.[1];
  if (encoded === undefined) return value;
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(
      Uint8Array.from(atob(encoded), (char) => char.charCodeAt(0)),
    );
  } catch {
    return undefined;
  }
}
