import { mintToken } from "./access-token.ts";
import { connectMcp, type Mcp } from "./mcp.ts";
import { findNode, findUser, readNetwork, type DeployedNode } from "./network.ts";
import type { Project } from "./project.ts";

/** A user's way to one node. */
export interface Session {
  readonly node: DeployedNode & { readonly id: string };
  /** Opens this node only. */
  readonly token: string;
  readonly mcp: Mcp;
}

export interface SessionOptions {
  readonly stack: string;
  /** Id or name; the network's first node when absent. */
  readonly node: string | undefined;
  /** `name@organization`; the first user of the node's organization when absent. */
  readonly user: string | undefined;
}

export async function openSession(project: Project, { stack, node: wanted, user }: SessionOptions): Promise<Session> {
  const network = await readNetwork(project, stack);
  const node = findNode(network, wanted);
  const token = await mintToken(network, findUser(network, user, node.organization), [node]);
  return { node, token, mcp: connectMcp(`${node.url}/mcp`, token) };
}
