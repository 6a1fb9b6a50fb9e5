import { createServer, request as send } from "node:http";
import type { AddressInfo } from "node:net";

/** What the suite talks to: a loopback address that adds a token, which the suite has no way to send. */
export interface FrontProxy {
  /** `http://localhost:<port>` */
  readonly url: string;
  /** Says where requests go from now on. */
  to(address: string, token: string): void;
  close(): void;
}

/** Passes everything on as it came: `Host`, `Origin`, streams both ways, and the client's leaving. */
export async function startFrontProxy(): Promise<FrontProxy> {
  let target: { readonly base: URL; readonly token: string } | undefined;
  const server = createServer((incoming, outgoing) => {
    if (!target) return void outgoing.writeHead(503).end();
    const { base, token } = target;
    const upstream = send(
      {
        host: base.hostname,
        port: base.port,
        method: incoming.method,
        path: base.pathname.replace(/\/$/, "") + incoming.url,
        headers: { ...incoming.headers, authorization: `Bearer ${token}` },
      },
      (response) => {
        outgoing.writeHead(response.statusCode ?? 502, response.headers);
        outgoing.flushHeaders();
        response.pipe(outgoing);
      },
    );
    upstream.on("error", () => outgoing.destroy());
    outgoing.on("close", () => upstream.destroy());
    incoming.pipe(upstream);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://localhost:${port}`,
    to: (address, token) => void (target = { base: new URL(address), token }),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
