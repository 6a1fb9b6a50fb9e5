import type { HeldManifest } from "../federation/held-manifest.ts";
import type { Platform } from "../platform.ts";
import type { Authenticate, Authenticated } from "../security/authenticate.ts";
import { clockSkew } from "../security/principal.ts";
import { parseToken } from "../security/token-keys.ts";
import { invalidToken, Unauthorized } from "../security/unauthorized.ts";
import type { Answer } from "./answer.ts";
import { callMeta, paramHeaders } from "./envelope.ts";
import type { McpEndpoint } from "./mcp-endpoint.ts";
import { isCallMethod, isListMethod } from "./methods.ts";
import type { ProtocolContext } from "./protocol.ts";
import { code, RpcError } from "./rpc.ts";

/** The parts of the node that a protocol reaches through its context. */
export interface ProtocolNode {
  readonly platform: Platform;
  readonly authenticate: Authenticate;
  readonly answer: Answer;
  readonly serveMcp: McpEndpoint;
  /** The manifest in force. */
  readonly held: () => Promise<HeldManifest | undefined>;
}

/** Makes what a protocol gets for one request. Throws `Unauthorized` for a peer: peers speak MCP, where a hop token allows one question. */
export type OpenContext = (request: Request, token: string, authenticated: Authenticated) => ProtocolContext;

export function contextOpener({ platform, authenticate, answer, serveMcp, held }: ProtocolNode): OpenContext {
  return (request, token, first) => {
    const { subject, organization, via, hop } = first.principal;
    if (hop) throw new Unauthorized(403, "insufficient_scope", "nodes ask each other at /mcp only");
    const callId = crypto.randomUUID();
    const expires = (Number(parseToken(token).claims["exp"]) + clockSkew) * 1000;
    let admitted = first;
    /** Ends what is asked: when the request does, or the socket that came of it. */
    let ending = request.signal;

    /** A connection may outlive the token and the manifest that it began with, so each use looks again. */
    async function admit(): Promise<Authenticated> {
      if (Date.now() >= expires) throw invalidToken("the token has expired");
      const newest = await held();
      if (newest && newest.serial > admitted.held.serial) admitted = await authenticate(token, newest);
      return admitted;
    }

    return {
      node: platform.config.node,
      url: platform.config.url,
      caller: { subject, organization, via },
      callId,
      expires,
      async answer(method, { _meta, ...params }, { signal = ending, progress, capabilities = {} } = {}) {
        if (!isListMethod(method) && !isCallMethod(method))
          throw new RpcError(code.invalidRequest, `the node does not answer ${String(method)} to protocols`);
        const { principal, held } = await admit();
        return await answer({
          method,
          params,
          meta: callMeta(_meta),
          principal,
          held,
          callId,
          headers: paramHeaders(request.headers),
          signal,
          capabilities,
          progress,
        });
      },
      mcp: async (inner) => await serveMcp(inner, await admit()),
      async check() {
        await admit();
      },
      ...(platform.upgrade && {
        upgrade: (handshake, subprotocol) => {
          const accepted = platform.upgrade!(handshake, subprotocol);
          const closed = new AbortController();
          accepted.socket.addEventListener("close", () => closed.abort(new Error("the socket was closed")));
          ending = closed.signal;
          return accepted;
        },
      }),
    };
  };
}
