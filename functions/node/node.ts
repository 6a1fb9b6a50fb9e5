import type { FunctionDefinition } from "./define.ts";
import { CatchUp } from "./federation/catch-up.ts";
import { Circuits } from "./federation/circuit.ts";
import type { HeldManifest } from "./federation/held-manifest.ts";
import { manifestMediaType } from "./federation/manifest.ts";
import { ManifestStore } from "./federation/manifest-store.ts";
import { peerClient } from "./federation/peer-client.ts";
import { PeerLists } from "./federation/peer-lists.ts";
import { relayer } from "./federation/relay.ts";
import { federationStatus, putManifest } from "./federation/status-endpoint.ts";
import { Audit } from "./observe/audit.ts";
import { readAudit } from "./observe/audit-endpoint.ts";
import type { Node, Platform, StartNode } from "./platform.ts";
import { answerer } from "./protocol/answer.ts";
import { catalogue, type Catalogue } from "./protocol/catalogue.ts";
import { mcpEndpoint } from "./protocol/mcp-endpoint.ts";
import { ownRunner } from "./protocol/own-call.ts";
import { ownServer } from "./protocol/serve-own.ts";
import { type Authenticated, authenticator, bearerToken } from "./security/authenticate.ts";
import { hopMinter } from "./security/hop-token.ts";
import { originAllowed } from "./security/origin.ts";
import { ReplayGuard } from "./security/replay.ts";
import { resourceMetadata } from "./security/resource-metadata.ts";
import { challenge, Unauthorized } from "./security/unauthorized.ts";

/**
 * Makes a node of a function set; what the platform gives comes later, so this may run at a module's top level.
 * Throws when two functions claim one name.
 */
export function createNode(functions: readonly FunctionDefinition[]): StartNode {
  const own = catalogue(functions);
  return (platform) => startNode(own, platform);
}

function startNode(own: Catalogue, platform: Platform): Node {
  const { config, key, state } = platform;
  const fetch = async (request: Request) => await platform.fetch(request);
  const waitUntil = (work: Promise<unknown>) => platform.waitUntil(work);

  const manifests = new ManifestStore(config, state);
  const audit = new Audit(state);
  const circuits = new Circuits();
  const mint = hopMinter(config.node, key);
  const catchUp = new CatchUp({ config, manifests, mint, fetch, waitUntil });
  const authenticate = authenticator(config, new ReplayGuard(), catchUp);
  const ask = peerClient({ fetch, mint, onSerial: (peer, serial, held) => catchUp.heard(peer, serial, held) });
  const peerLists = new PeerLists({ ask, circuits, waitUntil });
  const relay = relayer({ config, ask, circuits, audit, waitUntil });
  const serveOwn = ownServer({ config, state, audit, run: ownRunner(own, config.node, state), waitUntil });
  const serveMcp = mcpEndpoint(answerer({ config, catalogue: own, peerLists, serveOwn, relay }));

  return {
    async fetch(request) {
      try {
        if (!originAllowed(request, config.url)) return fault(403, "the Origin of the request is not this node's");
        return await route(request);
      } catch (cause) {
        if (cause instanceof Unauthorized) return challenge(cause, config.url);
        console.error(
          JSON.stringify({ error: "a request failed", cause: cause instanceof Error ? cause.stack : String(cause) }),
        );
        return fault(500, "internal error");
      }
    },
  };

  async function route(request: Request): Promise<Response> {
    const { pathname } = new URL(request.url);
    const method = request.method === "HEAD" ? "GET" : request.method;
    switch (`${method} ${pathname}`) {
      case "POST /mcp":
      case "GET /mcp":
      case "DELETE /mcp":
        return await admitted(request, async (authenticated) => await serveMcp(request, authenticated));
      case "GET /health":
        return Response.json(health(await manifests.held()));
      case "GET /.well-known/federation":
        return Response.json(federationStatus(config, key, await manifests.held()));
      case "PUT /.well-known/federation":
        return await putManifest(request, config, key, manifests);
      case "GET /.well-known/federation/manifest":
        return await admitted(request, async ({ principal, held }) => {
          if (principal.hop?.scope !== "manifest")
            throw new Unauthorized(403, "insufficient_scope", "the manifest is for the network's nodes");
          return new Response(held.jws, {
            headers: {
              "content-type": manifestMediaType,
              "cache-control": "no-store",
              "federation-serial": String(held.serial),
            },
          });
        });
      case "GET /.well-known/oauth-protected-resource":
        return Response.json(resourceMetadata(config, await manifests.held()));
      case "GET /audit":
        return await admitted(request, async ({ principal }) => await readAudit(request, config, principal, audit));
      default:
        return fault(404, "not found");
    }
  }

  /** Runs `serve` for a caller with a good token. */
  async function admitted(
    request: Request,
    serve: (authenticated: Authenticated) => Promise<Response>,
  ): Promise<Response> {
    const token = bearerToken(request);
    const held = await manifests.held();
    if (!held) return fault(503, "this node waits for its manifest", { "retry-after": "5" });
    catchUp.tick(held);
    return await serve(await authenticate(token, held));
  }

  function health(held: HeldManifest | undefined) {
    const { node, network } = config;
    return { status: held ? "ok" : "waiting", node, network, serial: held?.serial ?? 0, functions: own.functions };
  }
}

function fault(status: number, error: string, headers: Record<string, string> = {}): Response {
  return Response.json({ error }, { status, headers });
}
