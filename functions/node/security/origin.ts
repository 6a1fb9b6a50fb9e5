import type { HeaderReader } from "../platform.ts";

/**
 * Guards against DNS rebinding: a browser's page may speak to the node only from the node's own host.
 * Other clients send no `Origin`. The `Host` header is not looked at, since every platform rewrites it.
 */
export function originAllowed({ headers }: { readonly headers: HeaderReader }, nodeUrl: string): boolean {
  const origin = headers.get("origin");
  if (origin === null) return true;
  try {
    return new URL(origin).host === new URL(nodeUrl).host;
  } catch {
    return false;
  }
}
