import type { FunctionDefinition } from "../define.ts";
import type { Protocol } from "./protocol.ts";
import { restProtocol } from "./rest/rest.ts";
import { webSocketProtocol } from "./websocket/websocket.ts";

/** Finds who serves a request for a path that is none of the node's own: a function can add paths and take none away. */
export type FindProtocol = (request: Request) => Protocol | undefined;

/** Collects the protocols of a function set. Throws when two have one name. */
export function protocolFinder(functions: readonly FunctionDefinition[]): FindProtocol {
  const all = [restProtocol, ...functions.flatMap(({ protocols = [] }) => protocols)];
  // The WebSocket is found by the node itself, since its path is the node's.
  const names = [webSocketProtocol, ...all].map(({ name }) => name);
  const twice = names.find((name, n) => names.indexOf(name) !== n);
  if (twice !== undefined) throw new Error(`the function set has the protocol ${twice} twice`);
  return (request) => all.find((protocol) => protocol.match(request));
}
