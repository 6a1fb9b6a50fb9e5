import type { Caller } from "../define.ts";
import type { CallMethodName, ListMethodName } from "./methods.ts";
import type { Fields } from "./rpc.ts";
import type { Socket } from "./websocket/socket.ts";

/** A way to ask the node other than MCP over HTTP. Whatever it looks like outside, inside it asks through its context. */
export interface Protocol {
  /** Unique on a node. */
  readonly name: string;
  /** Is the request one of this protocol? It has no body to read yet. Paths of the node itself never get here. */
  match(request: Request): boolean;
  /** The bearer token, where it is not in the `Authorization` header. It must never be in the URL, which ends up in logs. */
  token?(request: Request): string | undefined;
  /** Answers a request whose token was checked. What it throws becomes a bare 500, `Unauthorized` a 401. */
  serve(request: Request, context: ProtocolContext): Promise<Response>;
}

export interface AskOptions {
  /** Ends the call, on the peer too; default: the signal of the request, or of the socket that came of it. */
  readonly signal?: AbortSignal;
  /** Gets the params of each progress notification; its presence asks for them. */
  readonly progress?: (params: Fields) => Promise<void>;
  /** What the client can be asked for in return (`elicitation`, `sampling`, `roots`), as MCP declares it; default: nothing. */
  readonly capabilities?: Fields;
}

/** What a protocol may use: the node as its caller may see it. */
export interface ProtocolContext {
  /** `organization/node`. */
  readonly node: string;
  /** Public base URL of the node, without a trailing slash. */
  readonly url: string;
  readonly caller: Caller;
  /** Id in every audit of what is asked through `answer`. */
  readonly callId: string;
  /** When the caller's token ends, in milliseconds since 1970. */
  readonly expires: number;
  /**
   * Asks the node, with MCP's methods and params, and answers MCP's result: same policy, rate, audit and relay as MCP itself.
   * Throws `RpcError` with what the caller may know, and `Unauthorized` once the token or the manifest no longer allows the caller.
   */
  answer(method: ListMethodName | CallMethodName, params: Fields, options?: AskOptions): Promise<Fields>;
  /** Serves a request as the MCP endpoint would, for a protocol that carries MCP messages in frames of its own. Throws `Unauthorized`. */
  mcp(request: Request): Promise<Response>;
  /** Throws `Unauthorized` if the token is past its end, or the manifest in force no longer stands behind it. */
  check(): Promise<void>;
  /** Accepts a WebSocket handshake; absent where the platform has none. */
  readonly upgrade?: (
    request: Request,
    subprotocol: string,
  ) => { readonly response: Response; readonly socket: Socket };
}

/** Declares a protocol; a function brings it to a node in its `protocols`. */
export function defineProtocol(protocol: Protocol): Protocol {
  return protocol;
}
