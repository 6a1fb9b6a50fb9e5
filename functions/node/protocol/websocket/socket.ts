/** What the node uses of a WebSocket: the part that workerd, Deno and the Node.js package `ws` have in common. */
export interface Socket {
  /** Bytes that wait to be sent; absent where the runtime does not tell. */
  readonly bufferedAmount?: number;
  send(text: string): void;
  close(code: number, reason: string): void;
  addEventListener(type: "message", listener: (event: { readonly data: unknown }) => void): void;
  addEventListener(type: "close" | "error", listener: () => void): void;
}

/** Close codes of RFC 6455, and ours from the range for applications. */
export const closeCode = {
  unsupportedData: 1003,
  policy: 1008,
  tooLarge: 1009,
  internal: 1011,
  /** The token ended, or the manifest no longer stands behind it: come back with another one. */
  unauthorized: 4401,
} as const;

/** Largest message in bytes, in either direction of reading. */
export const maxMessage = 4 * 1024 * 1024;

/** Does the request ask for a WebSocket? */
export function isUpgrade(request: Request): boolean {
  return request.method === "GET" && request.headers.get("upgrade")?.toLowerCase() === "websocket";
}
