import type { FunctionDefinition } from "./define.ts";
import { CatchUp } from "./federation/catch-up.ts";
import { Circuits } from "./federation/circuit.ts";
import { defaultLimits, type PeerLimits } from "./federation/limits.ts";
import type { HeldManifest } from "./federation/held-manifest.ts";
import { manifestMediaType } from "./federation/manifest.ts";
import { ManifestStore } from "./federation/manifest-store.ts";
import { type AskPeer, peerClient } from "./federation/peer-client.ts";
import { limitPeers } from "./federation/peer-limit.ts";
import { PeerLists } from "./federation/peer-lists.ts";
import { PeerSlots } from "./federation/peer-slots.ts";
import { relayer } from "./federation/relay.ts";
import { retryPeers } from "./federation/retry-budget.ts";
import { federationStatus, putManifest } from "./federation/status-endpoint.ts";
import { partRunner } from "./federation/upstream-call.ts";
import { upstreamClient } from "./federation/upstream.ts";
import { upstreamLabel } from "./federation/upstream-label.ts";
import { Audit } from "./observe/audit.ts";
import { readAudit } from "./observe/audit-endpoint.ts";
import type { HeaderReader, Node, Platform, StartNode } from "./platform.ts";
import { answerer } from "./protocol/answer.ts";
import { catalogue, type Catalogue } from "./protocol/catalogue.ts";
import { publicDocuments } from "./protocol/discovery/discovery.ts";
import { Changes } from "./protocol/changes.ts";
import { LegacySessions } from "./protocol/legacy-session.ts";
import { listener } from "./protocol/listen.ts";
import { mcpEndpoint } from "./protocol/mcp-endpoint.ts";
import { ownRunner } from "./protocol/own-call.ts";
import type { Protocol } from "./protocol/protocol.ts";
import { contextOpener } from "./protocol/protocol-context.ts";
import { type FindProtocol, protocolFinder } from "./protocol/protocols.ts";
import { routeFinder } from "./protocol/route.ts";
import { ownServer } from "./protocol/serve-own.ts";
import { webSocketProtocol } from "./protocol/websocket/websocket.ts";
import { type Authenticated, authenticator, bearerToken } from "./security/authenticate.ts";
import { hopMinter } from "./security/hop-token.ts";
import { stateSeal } from "./security/sealed-state.ts";
import { originAllowed } from "./security/origin.ts";
import { ReplayGuard } from "./security/replay.ts";
import { challenge, Unauthorized } from "./security/unauthorized.ts";

/**
 * Makes a node of a function set; what the platform gives comes later, so this may run at a module's top level.
 * Throws when two functions claim one name. `limits` are not for deployments, which all run with the default ones.
 */
export function createNode(functions: readonly FunctionDefinition[], limits: PeerLimits = defaultLimits): StartNode {
  const own = catalogue(functions);
  const findProtocol = protocolFinder(functions);
  return (platform) => startNode(own, findProtocol, platform, limits);
}

function startNode(own: Catalogue, findProtocol: FindProtocol, platform: Platform, limits: PeerLimits): Node {
  const { config, key, state } = platform;
  const fetch = async (request: Request) => await platform.fetch(request);
  const waitUntil = (work: Promise<unknown>) => platform.waitUntil(work);

  const manifests = new ManifestStore(config, state);
  const audit = new Audit({ state, waitUntil, print: platform.print?.bind(platform) });
  const circuits = new Circuits();
  const mint = hopMinter(config.node, key, platform.sign?.bind(platform));
  const catchUp = new CatchUp({ config, manifests, mint, fetch, waitUntil });
  const authenticate = authenticator(config, new ReplayGuard(), catchUp);
  const askPeer = peerClient({
    fetch,
    ...(platform.exchange && { post: platform.exchange.bind(platform) }),
    mint,
    onSerial: (peer, serial, held) => catchUp.heard(peer, serial, held),
  });
  const upstreams = config.upstreams ?? [];
  const askUpstream = upstreamClient({ config, secrets: platform.upstreamSecrets ?? {}, fetch });
  const prefixes = new Map(upstreams.map(({ name, prefix }) => [upstreamLabel(name), prefix]));
  const send: AskPeer = async (request) => await (prefixes.has(request.peer) ? askUpstream : askPeer)(request);
  const limited = limitPeers(send, { slots: new PeerSlots(limits, circuits), circuits });
  const ask = retryPeers(limited, { config, circuits });
  const peerLists = new PeerLists({
    ask,
    // A peer that asks for this node's list has a budget too: an upstream that is silent must not cost it the rest.
    budgetOf: (source) => (prefixes.has(source) ? limits.listBudget / 2 : limits.listBudget),
    onProbation: (peer) => circuits.allowance(peer, Date.now()).requests === 1,
    prefixOf: (source, { manifest }) => prefixes.get(source) ?? manifest.nodes[source]?.prefix ?? "",
    waitUntil,
  });
  const seal = stateSeal(key);
  const changes = new Changes(state);
  const find = routeFinder(own, upstreams);
  const relay = relayer({ config, ask, deadline: limits.callDeadline, audit, seal, waitUntil });
  const runFunction = ownRunner({ catalogue: own, node: config.node, state, seal, changes });
  const run = partRunner({ runFunction, route: find, ask, seal, deadline: limits.callDeadline });
  const serveOwn = ownServer({ config, state, audit, run, waitUntil });
  const answer = answerer({ config, catalogue: own, peerLists, serveOwn, relay, route: find });
  const held = async () => await manifests.held();
  const forget = (source: string) => peerLists.forget(source);
  const { serve: serveMcp, post: postMcp } = mcpEndpoint(
    answer,
    listener({ config, ask: send, changes, route: find, held, forget }),
    new LegacySessions(seal, state, config.node),
  );
  const openContext = contextOpener({ platform, authenticate, answer, serveMcp, held });
  const servePublic = publicDocuments(config, held);

  return {
    async fetch(request) {
      return await guarded(async () => {
        const { pathname } = new URL(request.url);
        const document = await servePublic(request, pathname);
        if (document) return document;
        return originAllowed(request, config.url) ? await route(request, pathname) : strangeOrigin();
      });
    },
    async postMcp(request) {
      return await guarded(async () => {
        if (!originAllowed(request, config.url)) return strangeOrigin();
        return await admitted(request, async (authenticated) => await postMcp(request, authenticated));
      });
    },
  };

  async function guarded<T>(work: () => Promise<T>): Promise<T | Response> {
    try {
      return await work();
    } catch (cause) {
      if (cause instanceof Unauthorized) return challenge(cause, config.url);
      console.error(
        JSON.stringify({ error: "a request failed", cause: cause instanceof Error ? cause.stack : String(cause) }),
      );
      return fault(500, "internal error");
    }
  }

  async function route(request: Request, pathname: string): Promise<Response> {
    const method = request.method === "HEAD" ? "GET" : request.method;
    switch (`${method} ${pathname}`) {
      case "GET /mcp":
        if (webSocketProtocol.match(request)) return await serveProtocol(request, webSocketProtocol);
        return await admitted(request, async (authenticated) => await serveMcp(request, authenticated));
      case "POST /mcp":
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
      case "GET /audit":
        return await admitted(request, async ({ principal }) => await readAudit(request, config, principal, audit));
      default: {
        const protocol = findProtocol(request);
        return protocol ? await serveProtocol(request, protocol) : fault(404, "not found");
      }
    }
  }

  /** Protocols beside MCP over HTTP get a caller whose token is good, and the node through a context that asks as MCP does. */
  async function serveProtocol(request: Request, protocol: Protocol): Promise<Response> {
    const token = protocol.token?.(request) ?? bearerToken(request);
    return await admitted(
      request,
      async (authenticated) => await protocol.serve(request, openContext(request, token, authenticated)),
      token,
    );
  }

  /** Runs `serve` for a caller with a good token. */
  async function admitted<T>(
    request: { readonly headers: HeaderReader },
    serve: (authenticated: Authenticated) => Promise<T>,
    token = bearerToken(request),
  ): Promise<T | Response> {
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

function strangeOrigin(): Response {
  return fault(403, "the Origin of the request is not this node's");
}

function fault(status: number, error: string, headers: Record<string, string> = {}): Response {
  return Response.json({ error }, { status, headers });
}
