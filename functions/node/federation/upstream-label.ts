/** How errors, audits and lists name an upstream; no node has such an id. */
export function upstreamLabel(name: string): string {
  return `upstream ${name}`;
}
