import type { NodeConfig, UpstreamConfig } from "../platform.ts";
import { isFields, modernVersion } from "../protocol/rpc.ts";
import { readText } from "./body.ts";
import { parseJson } from "./json-depth.ts";
import { LegacyUpstream } from "./legacy-upstream.ts";
import { type AskPeer, exchange, modernRequest, PeerFailure, type PeerRequest } from "./peer-client.ts";
import { type Authorize, upstreamAuth } from "./upstream-auth.ts";
import { upstreamLabel } from "./upstream-label.ts";

export interface UpstreamClientOptions {
  readonly config: NodeConfig;
  /** Bearer tokens and client secrets by upstream. */
  readonly secrets: Readonly<Record<string, string>>;
  readonly fetch: (request: Request) => Promise<Response>;
  readonly now?: () => number;
}

type Era = "modern" | "legacy";

/** A verdict is looked into again: a server that was upgraded would otherwise stay legacy here for ever. */
const verdictFor: Readonly<Record<Era, number>> = { modern: 3_600_000, legacy: 300_000 };
const maxProbe = 1024 * 1024;
/** Errors that only a server of MCP 2026-07-28 or later answers. */
const modernErrors = new Set<unknown>([-32020, -32021, -32022]);

/** Makes the function that asks upstreams, which `request.peer` names by label. Throws `RpcError`. */
export function upstreamClient({ config, secrets, fetch, now = () => Date.now() }: UpstreamClientOptions): AskPeer {
  const clients = new Map(
    (config.upstreams ?? []).map((upstream) => {
      const authorize = upstreamAuth(upstream, secrets[upstream.name], fetch);
      return [upstreamLabel(upstream.name), oneUpstream(upstream, authorize, fetch, now)];
    }),
  );
  return async (request) => {
    const ask = clients.get(request.peer);
    if (!ask) throw new Error(`${request.peer} is not configured`);
    return await ask(request);
  };
}

function oneUpstream(
  { url, era }: UpstreamConfig,
  authorize: Authorize,
  fetch: UpstreamClientOptions["fetch"],
  now: () => number,
): AskPeer {
  const legacy = new LegacyUpstream(url, fetch, authorize);
  let verdict: { readonly era: Era; readonly at: number } | undefined;

  return async (request) =>
    await exchange(request, async (signal) => {
      const spoken = era === "auto" ? await detect(request, signal) : era;
      if (spoken === "legacy") return await legacy.send(request, signal);
      return await fetch(modernRequest(url, request, await authorize(signal), signal));
    });

  async function detect(request: PeerRequest, signal: AbortSignal): Promise<Era> {
    if (verdict && now() - verdict.at < verdictFor[verdict.era]) return verdict.era;
    const found = await probe(request, signal);
    verdict = { era: found, at: now() };
    return found;
  }

  /** Asks for `server/discover`. Only an answer that a legacy server would give is taken as one; refusals and faults are no evidence. */
  async function probe({ peer, held, principal, deadline }: PeerRequest, signal: AbortSignal): Promise<Era> {
    const callId = crypto.randomUUID();
    const question = { peer, method: "server/discover", params: {}, held, principal, callId, deadline };
    const response = await fetch(modernRequest(url, question, await authorize(signal), signal));
    const text = await readText(response, maxProbe);
    const { status } = response;
    if (status === 401 || status === 403)
      throw new PeerFailure(peer, "refused this node's credentials", { sample: "answer" });
    if (status >= 500 || status === 429)
      throw new PeerFailure(peer, `answered HTTP ${status}`, { transient: status !== 500 && status !== 429 });
    const { result, error } = messageIn(text);
    if (isFields(result) && Array.isArray(result["supportedVersions"])) {
      if (result["supportedVersions"].includes(modernVersion)) return "modern";
      throw unspoken(peer, result["supportedVersions"]);
    }
    if (!isFields(error) || !modernErrors.has(error["code"])) return "legacy";
    const data = isFields(error["data"]) ? error["data"] : {};
    if (Array.isArray(data["supported"]) && !data["supported"].includes(modernVersion)) {
      // A server of both eras may name the legacy versions that it speaks.
      if (data["supported"].some((version) => typeof version === "string" && version < modernVersion)) return "legacy";
      throw unspoken(peer, data["supported"]);
    }
    return "modern";
  }
}

function unspoken(peer: string, versions: readonly unknown[]): PeerFailure {
  const spoken = versions.map(String).join(", ").slice(0, 200);
  return new PeerFailure(peer, `speaks MCP ${spoken}, this node ${modernVersion} and older`, { sample: "answer" });
}

/** The JSON-RPC message of a body, which may be an event stream of one message. */
function messageIn(text: string): Readonly<Record<string, unknown>> {
  const data = /^data: ?(.*)$/m.exec(text)?.[1] ?? text;
  try {
    const message = parseJson(data);
    return isFields(message) ? message : {};
  } catch {
    return {};
  }
}
